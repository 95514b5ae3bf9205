#include "trainer/evaluate/prediction_formats.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <vector>

#include "base/files.h"
#include "base/process/atomic_file.h"

namespace muster::trainer {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Where the picture lies, seen from a file in `folder`; a picture of a pack has a name alone.
std::string path_from(const fs::path& folder, const std::string& image) {
  if (!fs::exists(image)) return image;
  return fs::proximate(fs::absolute(image), fs::absolute(folder)).generic_string();
}

// x1, y1, x2, y2 inside the picture.
std::array<double, 4> cut(const ImageDetections& image, const std::array<float, 4>& box) {
  const auto inside = [](float edge, std::int64_t end) {
    return std::clamp(double{edge}, 0.0, static_cast<double>(end));
  };
  return {inside(box[0], image.width), inside(box[1], image.height), inside(box[2], image.width),
          inside(box[3], image.height)};
}

// The training's classes, in order, then every other caption as it comes.
class Labels {
 public:
  explicit Labels(const data::ClassMap& classes) {
    for (std::int64_t i = 0; i < classes.size(); ++i) {
      const data::Category& category = classes.category(i);
      index_by_id_[category.id] = entries_.size();
      entries_.push_back({category.id, category.name});
      next_id_ = std::max(next_id_, category.id + 1);
    }
  }
  struct Entry {
    std::int64_t id;
    std::string name;
  };
  std::size_t index(const LabelledDetection& detection) {
    const auto known = index_by_id_.find(detection.category_id);
    if (known != index_by_id_.end()) return known->second;
    const auto [place, added] = index_by_caption_.emplace(detection.caption, entries_.size());
    if (added) entries_.push_back({next_id_++, detection.caption});
    return place->second;
  }
  const Entry& operator[](std::size_t index) const { return entries_[index]; }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  std::map<std::int64_t, std::size_t> index_by_id_;
  std::map<std::string, std::size_t> index_by_caption_;
  std::int64_t next_id_ = 1;
};

// File names without extension, one each.
class UniqueNames {
 public:
  std::string of(const std::string& image) {
    const std::string stem = fs::path(image).stem().string();
    std::string name = stem;
    for (int i = 2; !taken_.insert(name).second; ++i) name = fmt::format("{}-{}", stem, i);
    return name;
  }

 private:
  std::set<std::string> taken_;
};

class CocoWriter final : public PredictionWriter {
 public:
  CocoWriter(const fs::path& folder, const data::ClassMap& classes)
      : folder_(folder), labels_(classes), file_(folder / "detections.coco.json") {
    file_.write("{\"annotations\": [");
  }
  void add(const ImageDetections& image) override {
    const auto id = static_cast<std::int64_t>(images_.size()) + 1;
    images_.push_back({{"id", id},
                       {"file_name", path_from(folder_, image.image)},
                       {"width", image.width},
                       {"height", image.height}});
    for (const LabelledDetection& d : image.kept) {
      const auto [x1, y1, x2, y2] = cut(image, d.box);
      file_.write(annotations_++ == 0 ? "\n" : ",\n");
      file_.write(dump({{"id", annotations_},
                        {"image_id", id},
                        {"category_id", labels_[labels_.index(d)].id},
                        {"bbox", {x1, y1, x2 - x1, y2 - y1}},
                        {"area", (x2 - x1) * (y2 - y1)},
                        {"iscrowd", 0},
                        {"score", d.score}}));
    }
  }
  void commit() override {
    Json categories = Json::array();
    for (const Labels::Entry& entry : labels_.entries())
      categories.push_back({{"id", entry.id}, {"name", entry.name}});
    file_.write("],\n\"categories\": " + dump(categories) + ",\n\"images\": " + dump(images_) +
                "}\n");
    file_.commit();
  }

 private:
  fs::path folder_;
  Labels labels_;
  AtomicFile file_;
  Json images_ = Json::array();
  std::int64_t annotations_ = 0;
};

class JsonLinesWriter final : public PredictionWriter {
 public:
  explicit JsonLinesWriter(const fs::path& folder)
      : folder_(folder), file_(folder / "detections.jsonl") {}
  void add(const ImageDetections& image) override {
    Json objects = Json::array();
    for (const LabelledDetection& d : image.kept)
      objects.push_back({{"bbox_2d", cut(image, d.box)}, {"label", d.caption}, {"score", d.score}});
    file_.write(dump({{"image", path_from(folder_, image.image)},
                      {"width", image.width},
                      {"height", image.height},
                      {"objects", objects}}) +
                "\n");
  }
  void commit() override { file_.commit(); }

 private:
  fs::path folder_;
  AtomicFile file_;
};

class YoloWriter final : public PredictionWriter {
 public:
  YoloWriter(const fs::path& folder, const data::ClassMap& classes)
      : folder_(folder), labels_(classes) {
    fs::create_directories(folder_ / "labels");
  }
  void add(const ImageDetections& image) override {
    const auto width = static_cast<double>(image.width);
    const auto height = static_cast<double>(image.height);
    std::string lines;
    for (const LabelledDetection& d : image.kept) {
      const auto [x1, y1, x2, y2] = cut(image, d.box);
      lines +=
          fmt::format("{} {:.6f} {:.6f} {:.6f} {:.6f}\n", labels_.index(d), (x1 + x2) / 2 / width,
                      (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height);
    }
    write_text(folder_ / "labels" / (names_.of(image.image) + ".txt"), lines);
  }
  void commit() override {
    std::string lines;
    for (const Labels::Entry& entry : labels_.entries()) lines += entry.name + "\n";
    write_text(folder_ / "classes.txt", lines);
  }

 private:
  fs::path folder_;
  Labels labels_;
  UniqueNames names_;
};

class LabelmeWriter final : public PredictionWriter {
 public:
  explicit LabelmeWriter(const fs::path& folder) : folder_(folder) {
    names_.of("detections");  // detections.json is there already
  }
  void add(const ImageDetections& image) override {
    Json shapes = Json::array();
    for (const LabelledDetection& d : image.kept) {
      const auto [x1, y1, x2, y2] = cut(image, d.box);
      shapes.push_back({{"label", d.caption},
                        {"points", {{x1, y1}, {x2, y2}}},
                        {"group_id", nullptr},
                        {"description", fmt::format("score {:.3f}", d.score)},
                        {"shape_type", "rectangle"},
                        {"flags", Json::object()}});
    }
    const Json file = {{"version", "5.5.0"},       {"flags", Json::object()},
                       {"shapes", shapes},         {"imagePath", path_from(folder_, image.image)},
                       {"imageData", nullptr},     {"imageHeight", image.height},
                       {"imageWidth", image.width}};
    write_text(folder_ / (names_.of(image.image) + ".json"), dump(file, 1) + "\n");
  }
  void commit() override {}

 private:
  fs::path folder_;
  UniqueNames names_;
};

}  // namespace

std::unique_ptr<PredictionWriter> prediction_writer(std::string_view format, const fs::path& folder,
                                                    const data::ClassMap& classes) {
  if (format == "muster") return nullptr;
  if (format == "coco") return std::make_unique<CocoWriter>(folder, classes);
  if (format == "jsonl") return std::make_unique<JsonLinesWriter>(folder);
  if (format == "yolo") return std::make_unique<YoloWriter>(folder, classes);
  if (format == "labelme") return std::make_unique<LabelmeWriter>(folder);
  throw std::logic_error("no such form of detections");
}

}  // namespace muster::trainer
