// predictions/judged.json: pictures with the truth and the predictions, and which of them are
// right.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::trainer {

enum class BoxVerdict : std::uint8_t {
  kNone,    // nothing was compared
  kFound,   // a right prediction, or the true box that it found: a true positive
  kFalse,   // a prediction of nothing: a false positive
  kMissed,  // a true box that nothing found: a false negative
  kCrowd,   // a crowd, or a prediction in one: counts neither way
};

struct JudgedBox {
  std::array<double, 4> box{};  // x1, y1, x2, y2, stored pixels
  std::string label;
  double score = -1;  // -1: of a true box
  BoxVerdict verdict = BoxVerdict::kNone;
};

struct JudgedPicture {
  std::string name;
  std::string file = {};  // of the picture alone, beside judged.json
  std::int64_t width = 0, height = 0;
  bool annotated = true;
  std::vector<JudgedBox> truth = {}, predicted = {};
  std::int64_t count(BoxVerdict verdict) const;  // predictions, and missed true boxes
  std::int64_t errors() const { return count(BoxVerdict::kFalse) + count(BoxVerdict::kMissed); }
};

struct JudgedPictures {
  double threshold = 0;  // least score of a prediction
  std::vector<JudgedPicture> pictures = {};
};

std::string judged_to_json(const JudgedPictures& pictures);
// Empty where the file is absent or damaged. A picture's file never leaves the folder.
JudgedPictures read_judged(const std::filesystem::path& file);

}  // namespace muster::trainer
