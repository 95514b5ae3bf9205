// COCO json files in, and detections out.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
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
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", file.string(), error.what()));
  }
}

// Ids are numbers, whole ones as 7.0 too, or texts, which the ground truth's images number.
std::int64_t image_number(const Json& id, const std::map<std::string, std::int64_t>& by_text) {
  if (!id.is_string()) return id.get<std::int64_t>();
  const auto known = by_text.find(id.get<std::string>());
  if (known == by_text.end())
    throw DataError(
        fmt::format("image_id {} is not among the images of the ground truth", id.dump()));
  return known->second;
}

// Texts are numbered in their order, after the largest number: pycocotools sorts images by id, and
// equal scores stay in that order.
std::map<std::string, std::int64_t> number_texts(const Json& images) {
  std::set<std::string> texts;
  std::int64_t next = 0;
  for (const Json& image : images) {
    const Json& id = image.at("id");
    if (id.is_string())
      texts.insert(id.get<std::string>());
    else
      next = std::max(next, id.get<std::int64_t>() + 1);
  }
  std::map<std::string, std::int64_t> numbers;
  for (const std::string& text : texts) numbers[text] = next++;
  return numbers;
}

EvalBox read_box(const Json& entry, const std::map<std::string, std::int64_t>& by_text) {
  EvalBox box;
  box.image_id = image_number(entry.at("image_id"), by_text);
  box.category_id = entry.at("category_id").get<std::int64_t>();
  box.xywh = entry.at("bbox").get<std::array<double, 4>>();
  return box;
}

EvalBox read_truth(const Json& entry, const std::map<std::string, std::int64_t>& by_text) {
  EvalBox box = read_box(entry, by_text);
  box.area = entry.at("area").get<double>();
  if (const auto crowd = entry.find("iscrowd"); crowd != entry.end() && !crowd->is_null()) {
    box.crowd = crowd->is_boolean() ? crowd->get<bool>() : crowd->get<int>() != 0;
  }
  return box;
}

// pycocotools looks annotations up by id, and takes id 0 for "no match".
void warn_of_ids(const Json& annotations) {
  std::set<std::string> seen;
  std::int64_t repeated = 0, zero = 0;
  for (const Json& entry : annotations) {
    const auto id = entry.find("id");
    if (id == entry.end()) continue;
    if (!seen.insert(id->dump()).second) ++repeated;
    if (*id == 0) ++zero;
  }
  if (repeated > 0)
    log::warn(
        "{} annotations have the id of another one: pycocotools evaluates the last of each id in "
        "the place of all, muster each as it is",
        repeated);
  if (zero > 0)
    log::warn(
        "an annotation has the id 0: pycocotools counts a detection that matches it as a false "
        "positive, muster as a match");
}

// The images by the names of their files, whole and without folders; a name that two have is
// nobody's.
std::map<std::string, std::int64_t> file_names_of(const Json& images,
                                                  const CocoGroundTruth& truth) {
  std::map<std::string, std::int64_t> names;
  std::set<std::string> shared;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::string file = images[i].value("file_name", "");
    if (file.empty()) continue;
    for (const std::string& name : std::set{file, fs::path(file).filename().string()})
      if (!names.emplace(name, truth.image_ids[i]).second) shared.insert(name);
  }
  for (const std::string& name : shared) names.erase(name);
  return names;
}

// One image of `muster predict`'s detections.json: the image by its file's name, the category by
// its caption, else by its id. Adds to `unknown` what is no category of the ground truth.
class PredictedImages {
 public:
  explicit PredictedImages(const CocoGroundTruth& truth) : truth_(truth) {
    for (const auto& [id, name] : truth.categories) category_by_name_.emplace(name, id);
  }
  void add(const Json& entry) {
    const auto name = entry.at("image").get<std::string>();
    const auto whole = truth_.image_by_file.find(name);
    const auto bare = truth_.image_by_file.find(fs::path(name).filename().string());
    const auto found = whole != truth_.image_by_file.end() ? whole : bare;
    if (found == truth_.image_by_file.end())
      throw DataError(
          fmt::format("image {} is not among the file_names of the ground truth", name));
    for (const Json& detection : entry.at("detections")) add(detection, found->second);
  }
  std::vector<EvalBox> take() {
    if (unknown_ > 0)
      log::warn("{} detections are of no category of the ground truth and are left out", unknown_);
    return std::move(boxes_);
  }

 private:
  void add(const Json& detection, std::int64_t image) {
    const auto named = category_by_name_.find(detection.at("caption").get<std::string>());
    const auto id = detection.value("category_id", std::int64_t{-1});
    if (named == category_by_name_.end() && !truth_.categories.contains(id)) {
      ++unknown_;
      return;
    }
    const auto box = detection.at("box").get<std::array<double, 4>>();
    boxes_.push_back({.image_id = image,
                      .category_id = named == category_by_name_.end() ? id : named->second,
                      .xywh = {box[0], box[1], box[2] - box[0], box[3] - box[1]},
                      .score = detection.at("score").get<double>()});
  }

  const CocoGroundTruth& truth_;
  std::map<std::string, std::int64_t> category_by_name_;
  std::vector<EvalBox> boxes_;
  std::int64_t unknown_ = 0;
};

bool is_predicted(const Json& json) {
  return json.is_array() && !json.empty() && json.front().contains("detections");
}

std::vector<EvalBox> read_results(const Json& list,
                                  const std::map<std::string, std::int64_t>& by_text) {
  std::vector<EvalBox> detections;
  for (const Json& entry : list) {
    EvalBox box = read_box(entry, by_text);
    box.score = entry.at("score").get<double>();
    detections.push_back(box);
  }
  return detections;
}

}  // namespace

CocoGroundTruth read_ground_truth(const std::filesystem::path& file) {
  return with_file(file, [](const Json& json) {
    CocoGroundTruth truth;
    truth.image_by_text = number_texts(json.at("images"));
    for (const Json& image : json.at("images"))
      truth.image_ids.push_back(image_number(image.at("id"), truth.image_by_text));
    truth.image_by_file = file_names_of(json.at("images"), truth);
    for (const Json& category : json.at("categories")) {
      truth.categories[category.at("id").get<std::int64_t>()] =
          category.at("name").get<std::string>();
    }
    for (const Json& entry : json.at("annotations"))
      truth.boxes.push_back(read_truth(entry, truth.image_by_text));
    warn_of_ids(json.at("annotations"));
    return truth;
  });
}

std::vector<EvalBox> read_detections(const std::filesystem::path& file,
                                     const CocoGroundTruth& truth) {
  return with_file(file, [&](const Json& json) {
    if (!is_predicted(json)) return read_results(json, truth.image_by_text);
    PredictedImages images(truth);
    for (const Json& entry : json) images.add(entry);
    return images.take();
  });
}

std::vector<EvalBox> read_detections(const std::filesystem::path& file) {
  return read_detections(file, {});
}

void write_detections(const std::filesystem::path& file, const std::vector<EvalBox>& detections) {
  AtomicFile out(file);
  const char* separator = "[\n";
  for (const EvalBox& box : detections) {
    out.write(separator + Json{{"image_id", box.image_id},
                               {"category_id", box.category_id},
                               {"bbox", box.xywh},
                               {"score", box.score}}
                              .dump());
    separator = ",\n";
  }
  out.write(detections.empty() ? "[]\n" : "\n]\n");
  out.commit();
}

}  // namespace muster::trainer
