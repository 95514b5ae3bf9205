// COCO json files in.
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "trainer/evaluate/coco_eval.h"

namespace muster::trainer {
namespace {

using Json = nlohmann::json;

// Any json error inside `read` becomes a DataError that names the file.
template <typename Read>
auto with_file(const std::filesystem::path& file, Read&& read) {
  try {
    return read(parse_json(read_text(file)));
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{}: not as COCO writes it: {}", file.string(), json_fault(error)));
  }
}

EvalBox read_box(const Json& entry) {
  EvalBox box;
  box.image_id = entry.at("image_id").get<std::int64_t>();
  box.category_id = entry.at("category_id").get<std::int64_t>();
  box.xywh = entry.at("bbox").get<std::array<double, 4>>();
  return box;
}

EvalBox read_truth(const Json& entry) {
  EvalBox box = read_box(entry);
  box.area = entry.at("area").get<double>();
  if (const auto crowd = entry.find("iscrowd"); crowd != entry.end()) {
    box.crowd = crowd->is_boolean() ? crowd->get<bool>() : crowd->get<int>() != 0;
  }
  return box;
}

}  // namespace

CocoGroundTruth read_ground_truth(const std::filesystem::path& file) {
  return with_file(file, [](const Json& json) {
    CocoGroundTruth truth;
    for (const Json& image : json.at("images"))
      truth.image_ids.push_back(image.at("id").get<std::int64_t>());
    for (const Json& category : json.at("categories")) {
      truth.categories[category.at("id").get<std::int64_t>()] =
          category.at("name").get<std::string>();
    }
    for (const Json& entry : json.at("annotations")) truth.boxes.push_back(read_truth(entry));
    return truth;
  });
}

std::vector<EvalBox> read_detections(const std::filesystem::path& file) {
  return with_file(file, [](const Json& json) {
    std::vector<EvalBox> detections;
    for (const Json& entry : json) {
      EvalBox box = read_box(entry);
      box.score = entry.at("score").get<double>();
      detections.push_back(box);
    }
    return detections;
  });
}

}  // namespace muster::trainer
