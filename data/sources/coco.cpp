// COCO: one JSON file with images, annotations (bbox x, y, w, h) and categories; "caption" per
// annotation is ours and optional. The file is read entry by entry: a million annotations are not
// in memory as JSON at once.
#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/pack/digest_map.h"
#include "data/sources/coco_annotations.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/geometry.h"
#include "data/sources/parse/json_text.h"
#include "data/sources/parse/numbers.h"
#include "data/sources/picture_finder.h"
#include "data/sources/readers.h"
#include "data/sources/sample_store.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr double kCocoRounding = 0.02;  // pixels; COCO's boxes carry two decimals

const json& field(const json& entry, const char* name) {
  if (!entry.is_object()) throw DataError("no JSON object");
  const auto at = entry.find(name);
  if (at == entry.end() || at->is_null()) throw DataError(fmt::format("no '{}'", name));
  return *at;
}

std::string id_field(const json& entry, const char* name) {
  const json& value = field(entry, name);
  const std::optional<std::string> id = loose_id(value);
  if (!id) throw DataError(fmt::format("'{}' is {}, no id", name, value.dump().substr(0, 60)));
  return *id;
}

// 0 when the file does not say.
std::int64_t coco_side(const json& entry, const char* name) {
  const auto at = entry.find(name);
  if (at == entry.end() || at->is_null()) return 0;
  const std::optional<double> value = loose_number(*at);
  if (!value || *value < 0 || *value > 1e9)
    throw DataError(fmt::format("'{}' is {}, no size", name, at->dump().substr(0, 60)));
  return static_cast<std::int64_t>(*value);
}

std::vector<double> numbers_of(const json& list, const char* name) {
  std::vector<double> numbers;
  for (const json& value : list) {
    const std::optional<double> number = loose_number(value);
    if (!number)
      throw DataError(fmt::format("'{}' holds {}, no number", name, value.dump().substr(0, 60)));
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<std::int64_t> whole_numbers(const std::vector<double>& numbers) {
  constexpr double kMost = 1e15;
  std::vector<std::int64_t> whole;
  for (const double number : numbers)
    whole.push_back(std::abs(number) < kMost ? static_cast<std::int64_t>(number) : -1);
  return whole;
}

// Run lengths: compressed text, or a list of counts.
Box box_of_mask(const json& mask) {
  const json& counts = field(mask, "counts");
  const json& size = field(mask, "size");
  if (!size.is_array() || size.size() != 2) throw DataError("'size' of the mask is no pair");
  const std::vector<double> sides = numbers_of(size, "size");
  std::optional<std::vector<std::int64_t>> lengths;
  if (counts.is_string())
    lengths = decompress_run_lengths(counts.get_ref<const std::string&>());
  else if (counts.is_array())
    lengths = whole_numbers(numbers_of(counts, "counts"));
  const std::optional<Box> box = lengths
                                     ? run_length_box(*lengths, static_cast<std::int64_t>(sides[0]),
                                                      static_cast<std::int64_t>(sides[1]))
                                     : std::nullopt;
  if (!box) throw DataError("no bbox, and its mask is empty or damaged");
  return *box;
}

// The box around a segmentation: polygons, one polygon, or a mask.
Box box_of_segmentation(const json& entry) {
  const auto at = entry.find("segmentation");
  const bool none = at == entry.end() || at->is_null() || at->empty();
  if (none) throw DataError("no bbox, and no segmentation that would give one");
  if (at->is_object()) return box_of_mask(*at);
  if (!at->is_array()) throw DataError("no bbox, and 'segmentation' is no polygon or mask");
  std::vector<double> points;
  if (at->front().is_array()) {
    for (const json& polygon : *at) {
      const std::vector<double> more = numbers_of(polygon, "segmentation");
      points.insert(points.end(), more.begin(), more.end());
    }
  } else {
    points = numbers_of(*at, "segmentation");
  }
  if (points.size() < 6 || points.size() % 2 != 0)
    throw DataError(fmt::format("no bbox, and a polygon of {} numbers", points.size()));
  return box_around(points);
}

Box box_of_entry(const json& entry) {
  const auto at = entry.find("bbox");
  const bool none = at == entry.end() || at->is_null() || (at->is_array() && at->empty());
  if (none) return box_of_segmentation(entry);
  if (!at->is_array() || at->size() != 4)
    throw DataError(at->is_array() ? fmt::format("bbox has {} numbers, expected 4", at->size())
                                   : fmt::format("bbox is {}", at->dump().substr(0, 60)));
  const std::vector<double> b = numbers_of(*at, "bbox");
  return {b[0], b[1], b[0] + b[2], b[1] + b[3]};
}

// Where images may lie relative to DIR/NAME.json: DIR, DIR/images, and the layouts of the published
// set (annotations/instances_val2017.json beside val2017/) and of CVAT (images/default).
std::vector<fs::path> image_roots(const fs::path& path, const fs::path& given) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const std::string stem = path.stem().string();
  const std::string last = stem.substr(stem.rfind('_') + 1);
  std::vector<fs::path> roots{folder,
                              folder / "images",
                              folder / last,
                              folder / ".." / last,
                              folder / ".." / "images",
                              folder / ".." / "images" / last,
                              folder / ".."};
  if (!given.empty()) roots.insert(roots.begin(), {given, given / "images", given / last});
  return roots;
}

// Below this, pictures are looked for by name: the set's own folder.
fs::path search_root(const fs::path& path, const fs::path& given) {
  if (!given.empty()) return given;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  return folder.filename() == "annotations" ? folder / ".." : folder;
}

class CocoReader {
 public:
  CocoReader(const fs::path& path, const ReadOptions& options)
      : path_(path),
        file_(path.string()),
        finder_(image_roots(path, options.images), search_root(path, options.images),
                options.scratch),
        drafts_(options),
        images_(drafts_.store()),
        annotations_(options.scratch) {
    drafts_.format = "coco";
    drafts_.rounding = kCocoRounding;
    drafts_.whole_folders = true;
  }

  Drafts read() {
    const SourceText text(path_);
    try {
      const bool is_object = trimmed(text.view().substr(0, 4096)).starts_with('{');
      if (!is_object) throw DataError("no JSON object: not a COCO file");
      for_each_json_entry(text.view(), [this](const std::string& key, std::int64_t index,
                                              json&& value) { take(key, index, value); });
    } catch (const IoError&) {
      throw;
    } catch (const std::exception& error) {
      throw DataError(fmt::format("{}: {}", file_, error.what()));
    }
    for (const char* key : {"categories", "images", "annotations"})
      if (!seen_[key])
        throw DataError(fmt::format("{}: no array '{}': not a COCO file", file_, key));
    number_categories();
    place_annotations();
    make_drafts();
    finder_.tell(drafts_.warnings);
    return std::move(drafts_);
  }

 private:
  void take(const std::string& key, std::int64_t index, const json& value) {
    // An empty array is told by nothing but its own end.
    seen_[key] = seen_[key] || index >= 0 || value.is_array();
    if (index < 0) return;
    try {
      if (key == "images")
        image(value);
      else if (key == "annotations")
        annotation(value, index);
      else if (key == "categories")
        category(value);
    } catch (const IoError&) {
      throw;  // of a full disk, not of the entry
    } catch (const std::exception& error) {
      fault(key, index, error.what());
    }
  }

  void fault(const std::string& key, std::int64_t index, const std::string& what) {
    Fault::Of of = Fault::Of::kSource;
    if (key == "annotations") of = Fault::Of::kBox;
    if (key == "images") of = Fault::Of::kSample;
    drafts_.faults.push_back({of, fmt::format("{}: {}[{}]", file_, key, index), what});
  }

  void category(const json& entry) {
    const std::string id = id_field(entry, "id");
    const std::optional<std::string> name = loose_text(field(entry, "name"));
    if (!name || trimmed(*name).empty()) throw DataError("'name' is no text");
    if (!category_of_.emplace(id, category_ids_.size()).second)
      throw DataError(fmt::format("category id {} is used twice", id));
    category_ids_.push_back(id);
    drafts_.categories.push_back({0, *name});
  }

  void image(const json& entry) {
    Sample sample;
    const std::string id = id_field(entry, "id");
    const std::string name = picture_name(entry);
    sample.name = fs::path(name).stem().string();
    sample.where = fmt::format("{}: image {}", file_, id);
    Picture& picture = sample.pictures.emplace_back();
    picture.width = coco_side(entry, "width");
    picture.height = coco_side(entry, "height");
    const auto next = static_cast<std::uint32_t>(images_.size());
    if (!image_at_.emplace(digest_of(id), next).second)
      throw DataError(fmt::format("image id {} is used twice", id));
    picture.path = finder_.find(name);
    images_.add(sample, id);
    integer_ids_ = integer_ids_ && integer_id(id).has_value();
  }

  // LVIS has URLs instead of names.
  static std::string picture_name(const json& entry) {
    for (const char* key : {"file_name", "filename", "path"})
      if (const auto at = entry.find(key); at != entry.end() && at->is_string())
        return at->get<std::string>();
    for (const char* key : {"coco_url", "flickr_url"})
      if (const auto at = entry.find(key); at != entry.end() && at->is_string())
        return fs::path(at->get<std::string>()).filename().string();
    throw DataError("no 'file_name'");
  }

  void annotation(const json& entry, std::int64_t index) {
    CocoAnnotation made;
    made.index = index;
    made.image = id_field(entry, "image_id");
    // A box that cannot be read is its picture's fault, which is known only at the end.
    try {
      made.category = id_field(entry, "category_id");
      made.object.box = box_of_entry(entry);
      if (const auto at = entry.find("caption"); at != entry.end() && at->is_string())
        made.caption = at->get<std::string>();
      if (const auto at = entry.find("iscrowd"); at != entry.end())
        made.object.crowd = loose_flag(*at);
      if (const auto at = entry.find("area"); at != entry.end())
        made.object.area = loose_number(*at).value_or(0);
    } catch (const std::exception& error) {
      made.fault = error.what();
    }
    annotations_.add(made);
  }

  // The source's ids where all are integers, else 1..K in the file's order.
  void number_categories() {
    bool integers = true;
    for (const std::string& id : category_ids_) integers = integers && integer_id(id).has_value();
    for (std::size_t i = 0; i < category_ids_.size(); ++i)
      drafts_.categories[i].id =
          integers ? *integer_id(category_ids_[i]) : static_cast<std::int64_t>(i) + 1;
  }

  // Sorts the annotations' places by image, those of an image in the file's order.
  void place_annotations() {
    std::vector<std::uint32_t> image_of;  // of each annotation; DigestMap::kNone: of none
    first_.assign(static_cast<std::size_t>(images_.size()) + 2, 0);
    annotations_.for_each([&](const CocoAnnotation& annotation, std::int64_t) {
      const std::uint32_t image = image_at_.find(digest_of(annotation.image));
      image_of.push_back(image);
      if (image != DigestMap::kNone)
        ++first_[image + 2];
      else
        drafts_.faults.push_back(
            {Fault::Of::kBox, where(annotation),
             fmt::format("image_id {} is not among the images", annotation.image)});
    });
    image_at_ = {};
    std::partial_sum(first_.begin(), first_.end(), first_.begin());
    places_.resize(first_.back());
    auto image = image_of.begin();
    annotations_.for_each([&](const CocoAnnotation&, std::int64_t place) {
      // The begin of the image behind, until all of this one's places are there.
      if (*image != DigestMap::kNone) places_[first_[*image + 1]++] = place;
      ++image;
    });
  }

  // The source's ids where all are integers, else the place among the images.
  void make_drafts() {
    std::size_t at = 0;
    for (SampleStore::Pass pass(images_); pass.next(); ++at) {
      Draft draft;
      draft.size_expected = true;
      draft.sample = pass.sample();
      draft.sample.source_id =
          integer_ids_ ? *integer_id(std::string(pass.attached())) : static_cast<std::int64_t>(at);
      for (std::size_t i = first_[at]; i < first_[at + 1]; ++i)
        place(annotations_.at(places_[i]), draft);
      drafts_.add(std::move(draft));
    }
  }

  void place(CocoAnnotation annotation, Draft& draft) const {
    std::string what = annotation.fault;
    const auto category = category_of_.find(annotation.category);
    if (what.empty() && category == category_of_.end())
      what = fmt::format("category_id {} is not among the categories", annotation.category);
    if (!what.empty()) {
      draft.faults.push_back({Fault::Of::kBox, where(annotation), what});
      return;
    }
    const Category& of = drafts_.categories[category->second];
    annotation.object.category = of.id;
    annotation.object.caption = annotation.caption.empty() ? of.name : annotation.caption;
    draft.objects.push_back({});
    draft.sample.objects.push_back(std::move(annotation.object));
  }

  std::string where(const CocoAnnotation& annotation) const {
    return fmt::format("{}: annotations[{}]", file_, annotation.index);
  }

  fs::path path_;
  std::string file_;
  PictureFinder finder_;
  Drafts drafts_;
  std::unordered_map<std::string, bool> seen_;  // top-level members
  std::vector<std::string> category_ids_;
  std::unordered_map<std::string, std::size_t> category_of_;
  SampleStore images_;  // without objects; attached: the id
  DigestMap image_at_;  // by id: which of images_
  bool integer_ids_ = true;
  CocoAnnotations annotations_;
  std::vector<std::uint32_t> first_;  // of each image in places_, and the end
  std::vector<std::int64_t> places_;  // of annotations that have an image
};

}  // namespace

Drafts read_coco(const fs::path& file, const ReadOptions& options) {
  return CocoReader(file, options).read();
}

}  // namespace muster::data
