// One sample as the gallery shows it: its pictures with boxes, and what is said about them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster::trainer {

enum class Verdict : std::uint8_t {
  kNone,   // nothing was compared
  kFound,  // a prediction that is right
  kFalse,  // a prediction that is wrong
  kTruth,  // annotated: found when a right prediction has a score, else missed
};

struct ShownBox {
  std::array<double, 4> box{};  // x1, y1, x2, y2 in pixels of ShownPicture::width x height
  std::string label;
  std::int64_t category = -1;   // place in Gallery::classes; -1: none of them
  std::optional<double> score;  // of a prediction, or of the one that found this truth
  Verdict verdict = Verdict::kNone;
  std::string note;  // more for who points at it
};

struct ShownPicture {
  std::string jpeg;  // the bytes; empty: `note` says why there is none
  std::int64_t width = 0, height = 0;
  std::string note;
  std::vector<ShownBox> boxes;
};

// A piece of text that is learned, or is not.
struct ShownText {
  std::string text;
  bool learned = false;
};

struct ShownTurn {
  std::string role;
  std::vector<ShownText> parts;
};

struct Card {
  std::string name;
  std::string note;
  std::vector<std::string> tags;  // why it is shown
  std::vector<ShownPicture> pictures;
  std::vector<ShownTurn> turns;
  bool open = false;  // the turns are unfolded
};

std::string render_card(const Card& card);

}  // namespace muster::trainer
