// CVAT's own format, "CVAT for images 1.1": one XML for all pictures of a task.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/sources/element.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/geometry.h"
#include "data/sources/parse/numbers.h"
#include "data/sources/picture_finder.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

// Faults of these are DataErrors without a place, which the caller knows.
const std::string& text_in(const XmlElement& element, const char* name) {
  const std::string* value = element.attribute(name);
  if (value == nullptr || value->empty())
    throw DataError(fmt::format("<{}> has no {}=", element.name, name));
  return *value;
}

double number_in(const XmlElement& element, const char* name) {
  const std::string& text = text_in(element, name);
  const std::optional<double> value = parse_number(text);
  if (!value)
    throw DataError(fmt::format("<{}> has {}=\"{}\", no number", element.name, name, text));
  return *value;
}

double rotation_of(const XmlElement& shape) {
  return shape.attribute("rotation") == nullptr ? 0 : number_in(shape, "rotation");
}

Box box_in(const XmlElement& box) {
  const double x1 = number_in(box, "xtl");
  const double y1 = number_in(box, "ytl");
  const double x2 = number_in(box, "xbr");
  const double y2 = number_in(box, "ybr");
  const double degrees = rotation_of(box);
  if (degrees == 0) return {x1, y1, x2, y2};
  return box_of_turned_about_centre((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, degrees);
}

// "1,2;3,4;5,6".
Box polygon_in(const XmlElement& polygon) {
  std::vector<double> points;
  const std::string& text = text_in(polygon, "points");
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find_first_of(",;"), rest.size());
    const std::optional<double> value = parse_number(trimmed(rest.substr(0, end)));
    if (!value) throw DataError(fmt::format("points= holds '{}', no number", rest.substr(0, end)));
    points.push_back(*value);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (points.size() < 6 || points.size() % 2 != 0)
    throw DataError(fmt::format("<polygon> has {} numbers", points.size()));
  return box_around(points);
}

Box mask_in(const XmlElement& mask) {
  const double left = number_in(mask, "left");
  const double top = number_in(mask, "top");
  return {left, top, left + number_in(mask, "width"), top + number_in(mask, "height")};
}

// The box around an ellipse whose axes are turned.
Box ellipse_in(const XmlElement& ellipse) {
  constexpr double kRadians = 0.017453292519943295;
  const double angle = rotation_of(ellipse) * kRadians;
  const double rx = number_in(ellipse, "rx");
  const double ry = number_in(ellipse, "ry");
  const double half_width = std::hypot(rx * std::cos(angle), ry * std::sin(angle));
  const double half_height = std::hypot(rx * std::sin(angle), ry * std::cos(angle));
  const double cx = number_in(ellipse, "cx");
  const double cy = number_in(ellipse, "cy");
  return {cx - half_width, cy - half_height, cx + half_width, cy + half_height};
}

Box shape_in(const XmlElement& shape) {
  if (shape.name == "box") return box_in(shape);
  if (shape.name == "polygon") return polygon_in(shape);
  if (shape.name == "mask") return mask_in(shape);
  if (shape.name == "ellipse") return ellipse_in(shape);
  throw DataError(
      fmt::format("<{}> has no box: box, polygon, mask and ellipse have one", shape.name));
}

std::int64_t recorded_side(const XmlElement& image, const char* name) {
  if (image.attribute(name) == nullptr) return 0;
  const double value = number_in(image, name);
  if (value < 0 || value > 1e9)
    throw DataError(fmt::format("{}=\"{}\" is no size", name, *image.attribute(name)));
  return static_cast<std::int64_t>(value);
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

std::vector<fs::path> picture_roots(const fs::path& file, const fs::path& given) {
  std::vector<fs::path> roots{folder_of(file) / "images", folder_of(file)};
  if (!given.empty()) roots.insert(roots.begin(), given);
  return roots;
}

class CvatReader {
 public:
  CvatReader(const fs::path& file, const ReadOptions& options)
      : path_(file),
        file_(file.string()),
        finder_(picture_roots(file, options.images),
                options.images.empty() ? folder_of(file) : options.images, options.scratch),
        drafts_(options) {
    drafts_.format = "cvat";
    drafts_.whole_folders = true;
  }

  Drafts read() {
    const MappedFile file(path_);
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                                file.bytes().size());
    const XmlElement root = for_each_child(
        text, file_, [this](const XmlElement& of, const XmlElement& child) { take(of, child); });
    if (root.name != kRoot)
      throw DataError(fmt::format("{}: <{}> expected, found <{}>", place(root), kRoot, root.name));
    if (drafts_.size() == 0 && drafts_.faults.empty())
      throw DataError(fmt::format("{}: no <image> in it", file_));
    finder_.tell(drafts_.warnings);
    return std::move(drafts_);
  }

 private:
  static constexpr const char* kRoot = "annotations";

  void take(const XmlElement& root, const XmlElement& element) {
    if (root.name != kRoot) return;
    if (element.name == "image") add_image(element);
    if (element.name == "meta") name_labels(element);
    if (element.name == "track")
      drafts_.faults.push_back({Fault::Of::kSample, place(element),
                                "a video's <track>: export as 'CVAT for images 1.1'"});
  }

  std::string place(const XmlElement& element) const {
    return fmt::format("{}:{}", file_, element.line);
  }

  // Ids must not depend on which labels happen to be used: the task's own list counts.
  void name_labels(const XmlElement& meta) {
    for (const XmlElement& child : meta.children) {
      const XmlElement* name = child.name == "label" ? child.child("name") : nullptr;
      if (name != nullptr && !name->text.empty()) drafts_.also_name(name->text);
      name_labels(child);
    }
  }

  void add_image(const XmlElement& image) {
    const std::string where = place(image);
    try {
      Draft draft;
      const std::string& name = text_in(image, "name");
      draft.sample.name = fs::path(name).replace_extension().string();
      draft.sample.where = where;
      draft.sample.source_id = drafts_.size();
      draft.size_expected = true;
      draft.sample.pictures.push_back({.path = finder_.find(name),
                                       .width = recorded_side(image, "width"),
                                       .height = recorded_side(image, "height")});
      for (const XmlElement& shape : image.children) add_shape(shape, draft);
      drafts_.add(std::move(draft));
    } catch (const DataError& error) {
      drafts_.faults.push_back({Fault::Of::kSample, where, error.what()});
    }
  }

  void add_shape(const XmlElement& shape, Draft& draft) const {
    try {
      Object object;
      object.box = shape_in(shape);
      object.caption = text_in(shape, "label");
      draft.objects.push_back({object.caption, Unit::kPixels});
      draft.sample.objects.push_back(std::move(object));
    } catch (const DataError& error) {
      draft.faults.push_back({Fault::Of::kBox, place(shape), error.what()});
    }
  }

  fs::path path_;
  std::string file_;
  PictureFinder finder_;
  Drafts drafts_;
};

}  // namespace

Drafts read_cvat(const fs::path& file, const ReadOptions& options) {
  return CvatReader(file, options).read();
}

}  // namespace muster::data
