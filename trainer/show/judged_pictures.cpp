#include "trainer/show/judged_pictures.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"

namespace muster::trainer {
namespace {

using Json = nlohmann::json;

constexpr std::array<const char*, 5> kWords{"", "found", "false", "missed", "crowd"};

BoxVerdict verdict_of_word(const std::string& word) {
  const auto* const found = std::ranges::find(kWords, word);
  return found == kWords.end() ? BoxVerdict::kNone
                               : static_cast<BoxVerdict>(found - kWords.begin());
}

Json boxes_to_json(const std::vector<JudgedBox>& boxes) {
  Json all = Json::array();
  for (const JudgedBox& box : boxes)
    all.push_back({{"box", box.box},
                   {"label", box.label},
                   {"score", box.score},
                   {"verdict", kWords[static_cast<std::size_t>(box.verdict)]}});
  return all;
}

std::vector<JudgedBox> boxes_from_json(const Json& json) {
  std::vector<JudgedBox> boxes;
  for (const Json& one : json)
    boxes.push_back({.box = one.at("box").get<std::array<double, 4>>(),
                     .label = one.at("label"),
                     .score = one.at("score"),
                     .verdict = verdict_of_word(one.at("verdict"))});
  return boxes;
}

bool stays_inside(const std::string& file) {
  const fs::path path = fs::path(file).lexically_normal();
  return !path.is_absolute() && !path.empty() && *path.begin() != "..";
}

JudgedPicture picture_from_json(const Json& json) {
  JudgedPicture picture{.name = json.at("name"),
                        .file = json.at("file"),
                        .width = json.at("width"),
                        .height = json.at("height"),
                        .annotated = json.at("annotated"),
                        .truth = boxes_from_json(json.at("truth")),
                        .predicted = boxes_from_json(json.at("predicted"))};
  if (!stays_inside(picture.file)) picture.file.clear();
  return picture;
}

}  // namespace

std::int64_t JudgedPicture::count(BoxVerdict verdict) const {
  const auto& boxes = verdict == BoxVerdict::kMissed ? truth : predicted;
  return std::ranges::count(boxes, verdict, &JudgedBox::verdict);
}

std::string judged_to_json(const JudgedPictures& pictures) {
  Json all = Json::array();
  for (const JudgedPicture& p : pictures.pictures)
    all.push_back({{"name", p.name},
                   {"file", p.file},
                   {"width", p.width},
                   {"height", p.height},
                   {"annotated", p.annotated},
                   {"truth", boxes_to_json(p.truth)},
                   {"predicted", boxes_to_json(p.predicted)}});
  const Json json{{"threshold", pictures.threshold}, {"pictures", all}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

JudgedPictures read_judged(const fs::path& file) {
  if (!fs::is_regular_file(file)) return {};
  JudgedPictures pictures;
  try {
    const Json json = parse_json(read_text(file));
    pictures.threshold = json.at("threshold");
    for (const Json& one : json.at("pictures")) pictures.pictures.push_back(picture_from_json(one));
  } catch (const Json::exception&) {
    return {};
  }
  return pictures;
}

}  // namespace muster::trainer
