// COCO: one json with images, annotations (bbox x, y, w, h) and categories; "caption" per
// annotation is ours and optional.
#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr double kRounding = 0.02;  // pixels; COCO's boxes carry two decimals

// Segmentations are most of a COCO file and nothing here reads them: they are dropped while
// parsing.
json parse_without_masks(const fs::path& path) {
  const json::parser_callback_t keep = [](int, json::parse_event_t event, json& parsed) {
    return event != json::parse_event_t::key || parsed != "segmentation";
  };
  const MappedFile file(path);
  const auto* text = reinterpret_cast<const char*>(file.bytes().data());
  try {
    return json::parse(text, text + file.bytes().size(), keep);
  } catch (const json::exception& error) {
    throw DataError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

// Runs read(entry) for each element of document[key]; whatever is wrong is reported with file,
// array and index.
template <typename Read>
void for_each(const json& document, const char* key, const std::string& file, Read&& read) {
  const auto array = document.find(key);
  if (array == document.end() || !array->is_array())
    throw DataError(fmt::format("{}: no array '{}': not a COCO file", file, key));
  for (std::size_t i = 0; i < array->size(); ++i) {
    try {
      read((*array)[i]);
    } catch (const json::exception& error) {
      throw DataError(fmt::format("{}: {}[{}]: {}", file, key, i, error.what()));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: {}[{}]: {}", file, key, i, error.what()));
    }
  }
}

// Where images may lie relative to DIR/NAME.json: DIR, DIR/images, and the layouts of the published
// set (annotations/instances_val2017.json beside val2017/).
std::vector<fs::path> image_roots(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const std::string stem = path.stem().string();
  const std::string last = stem.substr(stem.rfind('_') + 1);
  return {folder,
          folder / "images",
          folder / last,
          folder / ".." / last,
          folder / ".." / "images",
          folder / ".." / "images" / last};
}

fs::path find_image(const std::vector<fs::path>& roots, const std::string& name) {
  for (const fs::path& root : roots)
    if (fs::exists(root / name)) return (root / name).lexically_normal();
  return roots.front() / name;
}

class CocoReader {
 public:
  explicit CocoReader(const fs::path& path) : path_(path), roots_(image_roots(path)) {}

  Source read() {
    const json document = parse_without_masks(path_);
    const std::string file = path_.string();
    if (!document.is_object())
      throw DataError(fmt::format("{}: no JSON object: not a COCO file", file));
    for_each(document, "categories", file, [&](const json& entry) { category(entry); });
    for_each(document, "images", file, [&](const json& entry) { image(entry); });
    for_each(document, "annotations", file, [&](const json& entry) { annotation(entry); });
    return std::move(source_);
  }

 private:
  void category(const json& entry) {
    const Category made{entry.at("id").get<std::int64_t>(), entry.at("name").get<std::string>()};
    if (!names_.emplace(made.id, made.name).second)
      throw DataError(fmt::format("category id {} is used twice", made.id));
    source_.categories.push_back(made);
  }

  void image(const json& entry) {
    Sample sample;
    sample.source_id = entry.at("id").get<std::int64_t>();
    const auto name = entry.at("file_name").get<std::string>();
    sample.name = fs::path(name).stem().string();
    sample.pictures = {{.path = find_image(roots_, name),
                        .width = entry.at("width").get<std::int64_t>(),
                        .height = entry.at("height").get<std::int64_t>()}};
    sample.where = fmt::format("{}: image {}", path_.string(), sample.source_id);
    if (!images_.emplace(sample.source_id, source_.samples.size()).second)
      throw DataError(fmt::format("image id {} is used twice", sample.source_id));
    source_.samples.push_back(std::move(sample));
  }

  void annotation(const json& entry) {
    const auto image_id = entry.at("image_id").get<std::int64_t>();
    const auto at = images_.find(image_id);
    if (at == images_.end())
      throw DataError(fmt::format("image_id {} is not among the images", image_id));
    Sample& sample = source_.samples[at->second];
    Object object;
    object.category = entry.at("category_id").get<std::int64_t>();
    const auto name = names_.find(object.category);
    if (name == names_.end())
      throw DataError(fmt::format("category_id {} is not among the categories", object.category));
    object.caption = entry.value("caption", name->second);
    object.crowd = entry.value("iscrowd", 0) != 0;
    const json& bbox = entry.at("bbox");
    if (bbox.size() != 4)
      throw DataError(fmt::format("bbox has {} numbers, expected 4", bbox.size()));
    const auto [x, y, width, height] = bbox.get<std::array<double, 4>>();
    object.box = {x, y, x + width, y + height};
    snap_to_border(object.box, static_cast<double>(sample.pictures[0].width),
                   static_cast<double>(sample.pictures[0].height), kRounding, kRounding);
    object.area = entry.value("area", box_area(object.box));
    sample.objects.push_back(std::move(object));
  }

  fs::path path_;
  std::vector<fs::path> roots_;
  Source source_{"coco", {}, {}, {}, {}};
  std::unordered_map<std::int64_t, std::string> names_;
  std::unordered_map<std::int64_t, std::size_t> images_;  // id -> place in samples
};

}  // namespace

Source read_coco(const fs::path& json_file) { return CocoReader(json_file).read(); }

}  // namespace muster::data
