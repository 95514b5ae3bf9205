// What a pack holds: pictures, samples of one or more turns about them, their objects, and the
// table of categories.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

// A picture of a sample. A pack stores its bytes once, whatever number of samples show it.
struct Picture {
  std::filesystem::path path;          // source file
  std::int64_t width = 0, height = 0;  // as trained on: after turning by `orientation`
  int orientation = 1;  // EXIF's, 1..8: how the stored bytes are turned after decoding (--upright)
  std::int64_t index = -1;  // in the pack's table of pictures; -1 until packed
};

struct Object {
  std::array<double, 4> box{};  // x1, y1, x2, y2 in pixels of its picture
  std::int64_t category = -1;   // original category id (of the source)
  std::string caption;  // what the detector learns to write; the category's name unless the source
                        // says more
  bool crowd = false;
  double area = 0;           // the source's, else the box's
  std::int64_t picture = 0;  // which of the sample's pictures it is in
  std::int64_t turn = -1;    // the assistant's turn that lists it; -1: none does by name
};

enum class Role : std::uint8_t { kSystem, kUser, kAssistant };

// Where the sample's next picture stands in a user's text: U+FFFC OBJECT REPLACEMENT CHARACTER. The
// k-th mark of a sample's turns is its k-th picture; readers refuse sources that contain it.
inline constexpr std::string_view kPictureMark = "\xEF\xBF\xBC";

// One message. An assistant's turn that lists objects has no text of its own: the answer is written
// from the objects whose `turn` is this one, in the form that the config asks for (data.answer).
struct Turn {
  Role role = Role::kUser;
  std::string text;
  bool lists_objects = false;
};

// Turns empty: the config's question about the pictures, answered with all objects. Turns without
// an assistant's last turn: the sample's own question, answered with all objects.
struct Sample {
  std::string name;               // unique within the pack, e.g. the file's stem
  std::int64_t source_id = -1;    // COCO image id where the source has one, else the position
  std::vector<Picture> pictures;  // empty: text only
  std::vector<Object> objects;
  std::vector<Turn> turns;
  bool boxed = true;  // somebody annotated boxes: none annotated is not none there. False: no
                      // detection loss, and the answer is the turns' own text
  std::string where;  // annotation file (and line) for messages; not stored in the pack

  bool has_picture() const { return !pictures.empty(); }
};

struct Category {
  std::int64_t id = 0;  // original
  std::string name;
};

}  // namespace muster::data
