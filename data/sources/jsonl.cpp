// Qwen-style JSONL: one sample per line, as a conversation or as {"image", "objects"}. Forms in
// docs/data.md.
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

using nlohmann::json;

// The first of `keys` that is there.
const json* find(const json& entry, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (const auto at = entry.find(key); at != entry.end()) return &*at;
  return nullptr;
}

struct Turns {
  std::string user, assistant, image;
};

void add_content(Turns& turns, std::string& text, const json& content) {
  if (content.is_string()) {
    text += content.get<std::string>();
    return;
  }
  for (const json& part : content) {
    const json* image = find(part, {"image"});
    if (image != nullptr)
      turns.image = image->get<std::string>();
    else if (part.contains("text"))
      text += part.at("text").get<std::string>();
    else
      throw DataError("a content part that is neither text nor image");
  }
}

// {"from": "human"|"gpt", "value"} or {"role": "user"|"assistant", "content"}; a system turn is the
// config's business.
Turns read_turns(const json& list) {
  Turns turns;
  int users = 0, assistants = 0;
  for (const json& turn : list) {
    const auto role = find(turn, {"role", "from"}) == nullptr
                          ? ""
                          : find(turn, {"role", "from"})->get<std::string>();
    const json* content = find(turn, {"content", "value"});
    if (content == nullptr) throw DataError("a turn without content");
    if (role == "user" || role == "human") {
      add_content(turns, turns.user, *content);
      ++users;
    } else if (role == "assistant" || role == "gpt") {
      add_content(turns, turns.assistant, *content);
      ++assistants;
    } else if (role != "system")
      throw DataError(fmt::format("a turn of unknown role '{}'", role));
  }
  if (users != 1 || assistants != 1)
    throw DataError(
        fmt::format("{} user and {} assistant turns; one of each is supported", users, assistants));
  return turns;
}

// <image> and the rendered form mark where an image goes; the chat template puts it first.
std::string without_image_marks(std::string text) {
  for (const std::string mark :
       {"<image>\n", "<image>", "<|vision_start|><|image_pad|><|vision_end|>"})
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark))
      text.erase(at, mark.size());
  return text;
}

// A list of boxes, fenced or not; a null value when the answer is prose.
json parse_boxes(const std::string& answer) {
  std::string text = answer;
  if (const std::size_t fence = text.find("```"); fence != std::string::npos) {
    const std::size_t begin = text.find('\n', fence), end = text.find("```", fence + 3);
    if (begin == std::string::npos || end == std::string::npos || end < begin)
      throw DataError("the answer's ``` fence is not closed");
    text = text.substr(begin, end - begin);
  }
  const bool claims =
      text.find("bbox_2d") != std::string::npos || text.find("\"bbox\"") != std::string::npos;
  json parsed = json::parse(text, nullptr, claims);
  if (parsed.is_array() && (claims || parsed.empty())) return parsed;
  return nullptr;
}

class JsonlReader {
 public:
  explicit JsonlReader(const fs::path& path)
      : path_(path), folder_(path.has_parent_path() ? path.parent_path() : fs::path(".")) {}

  Source read() {
    std::istringstream lines(read_text(path_));
    std::string line;
    for (std::int64_t number = 1; std::getline(lines, line); ++number) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const std::string where = fmt::format("{}:{}", path_.string(), number);
      try {
        add(json::parse(line), where, number);
      } catch (const json::exception& error) {
        throw DataError(fmt::format("{}: {}", where, error.what()));
      } catch (const DataError& error) {
        throw DataError(fmt::format("{}: {}", where, error.what()));
      }
    }
    number_categories(source_, names_);
    return std::move(source_);
  }

 private:
  void add(const json& entry, const std::string& where, std::int64_t number) {
    Sample& sample = source_.samples.emplace_back();
    names_.emplace_back();
    sample.where = where;
    sample.source_id = static_cast<std::int64_t>(source_.samples.size()) - 1;
    std::string image;
    if (const json* given = find(entry, {"image", "images"})) image = one_image(*given);
    if (const json* objects = find(entry, {"objects"}))
      add_objects(*objects);
    else if (const json* turns = find(entry, {"conversations", "messages"}))
      add_conversation(read_turns(*turns), image);
    else
      throw DataError("neither 'objects' nor 'conversations' nor 'messages'");
    sample.name = image.empty() ? fmt::format("line-{}", number) : fs::path(image).stem().string();
    if (!image.empty()) locate(sample, image, entry);
  }

  static std::string one_image(const json& given) {
    if (given.is_string()) return given.get<std::string>();
    if (!given.is_array() || given.size() > 1) throw DataError("one image per sample is supported");
    return given.empty() ? "" : given.front().get<std::string>();
  }

  void add_conversation(const Turns& turns, std::string& image) {
    if (image.empty()) image = turns.image;
    const json boxes = parse_boxes(turns.assistant);
    if (!boxes.is_null() && !image.empty()) return add_objects(boxes);
    source_.samples.back().turns = {{Role::kUser, without_image_marks(turns.user), false},
                                    {Role::kAssistant, turns.assistant, false}};
  }

  void add_objects(const json& list) {
    for (const json& entry : list) {
      Object object;
      const json* box = find(entry, {"bbox_2d", "bbox"});
      const json* label = find(entry, {"label", "category", "name"});
      if (box == nullptr || label == nullptr) throw DataError("an object without bbox or label");
      if (box->size() != 4)
        throw DataError(fmt::format("a box of {} numbers, expected 4", box->size()));
      object.box = box->get<std::array<double, 4>>();
      object.area = box_area(object.box);
      object.caption = entry.value("caption", label->get<std::string>());
      names_.back().push_back(label->get<std::string>());
      source_.samples.back().objects.push_back(std::move(object));
    }
  }

  void locate(Sample& sample, std::string image, const json& entry) const {
    if (image.starts_with("file://")) image.erase(0, 7);
    Picture& picture = sample.pictures.emplace_back();
    picture.path = folder_ / image;  // an absolute path stays itself
    if (!fs::exists(picture.path) && fs::exists(folder_ / "images" / image))
      picture.path = folder_ / "images" / image;
    record_stored_size(sample);
    if (const json* width = find(entry, {"width", "image_width"}))
      picture.width = width->get<std::int64_t>();
    if (const json* height = find(entry, {"height", "image_height"}))
      picture.height = height->get<std::int64_t>();
  }

  fs::path path_, folder_;
  Source source_{"jsonl", {}, {}, {}, {}};
  std::vector<std::vector<std::string>> names_;  // per sample, per object: its category
};

}  // namespace

Source read_jsonl(const fs::path& file) { return JsonlReader(file).read(); }

}  // namespace muster::data
