// Pascal VOC: an XML per picture. Boxes are used as they stand, as pixel coordinates.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "data/pack/digest_map.h"
#include "data/sources/blocks.h"
#include "data/sources/element.h"
#include "data/sources/junk.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/geometry.h"
#include "data/sources/parse/numbers.h"
#include "data/sources/picture_finder.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

bool is_xml(const fs::path& path) { return lower_extension(path) == ".xml"; }

std::string place(const std::string& file, const XmlElement& element) {
  return fmt::format("{}:{}", file, element.line);
}

// A DataError without a place, which the caller knows.
double number_in(const XmlElement& parent, const char* name) {
  const XmlElement* child = parent.child(name);
  if (child == nullptr) throw DataError(fmt::format("<{}> has no <{}>", parent.name, name));
  const std::optional<double> value = parse_number(child->text);
  if (!value)
    throw DataError(
        fmt::format("<{}> in line {} is '{}', no number", name, child->line, child->text));
  return *value;
}

// <polygon><x1/><y1/><x2/><y2/>...</polygon>, as Roboflow and others write it.
Box polygon_in(const XmlElement& polygon) {
  std::vector<double> points;
  for (const XmlElement& number : polygon.children) {
    const std::optional<double> value = parse_number(number.text);
    if (!value) throw DataError(fmt::format("<{}> is '{}', no number", number.name, number.text));
    points.push_back(*value);
  }
  if (points.size() < 6 || points.size() % 2 != 0)
    throw DataError(fmt::format("<polygon> has {} numbers", points.size()));
  return box_around(points);
}

// <robndbox>: centre, sides and an angle in radians, as roLabelImg writes it.
Box turned_in(const XmlElement& turned) {
  constexpr double kDegrees = 57.29577951308232;
  const double width = number_in(turned, "w");
  const double height = number_in(turned, "h");
  const double degrees = number_in(turned, "angle") * kDegrees;
  return box_of_turned_about_centre(number_in(turned, "cx"), number_in(turned, "cy"), width, height,
                                    degrees);
}

Box box_in(const XmlElement& object) {
  if (const XmlElement* box = object.child("bndbox"))
    return {number_in(*box, "xmin"), number_in(*box, "ymin"), number_in(*box, "xmax"),
            number_in(*box, "ymax")};
  if (const XmlElement* polygon = object.child("polygon")) return polygon_in(*polygon);
  if (const XmlElement* turned = object.child("robndbox")) return turned_in(*turned);
  throw DataError("<object> has no <bndbox>");
}

std::string name_in(const XmlElement& object) {
  const XmlElement* name = object.child("name");
  if (name == nullptr) throw DataError("<object> has no <name>");
  if (name->text.empty()) throw DataError("<object> has an empty <name>");
  return name->text;
}

// The width or height that the annotation records, 0 when it does not.
std::int64_t recorded_side(const XmlElement& root, const char* name) {
  const XmlElement* size = root.child("size");
  const XmlElement* side = size == nullptr ? nullptr : size->child(name);
  if (side == nullptr || side->text.empty()) return 0;
  const std::optional<double> value = parse_number(side->text);
  if (!value || *value < 0 || *value > 1e9)
    throw DataError(fmt::format("<{}> in line {} is '{}', no size", name, side->line, side->text));
  return static_cast<std::int64_t>(*value);
}

// One annotation file: what the XML says, its picture still by name.
struct Annotation {
  Draft draft;
  std::string filename;
  std::vector<Fault> lost;  // why there is no draft
  bool whole = false;
};

void add_object(Annotation& made, const XmlElement& element, const std::string& file) {
  try {
    Object object;
    object.caption = name_in(element);
    object.box = box_in(element);
    made.draft.objects.push_back({object.caption});
    made.draft.sample.objects.push_back(std::move(object));
  } catch (const DataError& error) {
    made.draft.faults.push_back({Fault::Of::kBox, place(file, element), error.what()});
  }
}

Annotation read_annotation(const fs::path& path) {
  Annotation made;
  const std::string file = path.string();
  try {
    const XmlElement root = parse_xml(read_text(path), file);
    if (root.name != "annotation") {
      made.lost.push_back({Fault::Of::kSample, place(file, root),
                           fmt::format("<annotation> expected, found <{}>", root.name)});
      return made;
    }
    made.draft.sample.where = file;
    if (const XmlElement* filename = root.child("filename")) made.filename = filename->text;
    made.draft.sample.pictures.emplace_back();
    made.draft.size_expected = true;
    Picture& picture = made.draft.sample.pictures.front();
    try {
      picture.width = recorded_side(root, "width");
      picture.height = recorded_side(root, "height");
    } catch (const DataError& error) {
      made.draft.faults.push_back({Fault::Of::kSample, file, error.what()});
    }
    for (const XmlElement& element : root.children)
      if (element.name == "object") add_object(made, element, file);
    made.whole = true;
  } catch (const Error& error) {
    // The XML's own errors name file and line.
    const std::string what = error.what();
    const std::string prefix = file + ":";
    const std::size_t end =
        what.starts_with(prefix) ? what.find(": ", prefix.size()) : std::string::npos;
    if (end == std::string::npos)
      made.lost.push_back({Fault::Of::kSample, file, what});
    else
      made.lost.push_back({Fault::Of::kSample, what.substr(0, end), what.substr(end + 2)});
  }
  return made;
}

class VocReader {
 public:
  VocReader(const fs::path& folder, const ReadOptions& options)
      : folder_(folder),
        options_(options),
        annotations_(annotation_folder(folder)),
        files_(annotations_),
        finder_(picture_roots(), options.images.empty() ? folder : options.images, options.scratch),
        drafts_(options) {}

  Drafts read() {
    drafts_.format = "voc";
    files_ = list_files(annotations_, is_xml);
    if (files_.empty() && drafts_.faults.empty())
      throw DataError(fmt::format("{}: no .xml in it", annotations_.string()));
    drafts_.whole_folders = options_.split.empty();
    for (std::size_t i = 0; i < files_.size(); ++i)
      file_of_stem_.emplace(digest_of(stem_of(i)), static_cast<std::uint32_t>(i));
    std::vector<std::uint32_t> listed;
    if (options_.split.empty())
      for (std::size_t i = 0; i < files_.size(); ++i) listed.push_back(file_of(stem_of(i)));
    else
      listed = listed_files();
    read_files("reading annotations", listed,
               [this](Annotation& read, std::uint32_t file) { add(stem_of(file), read); });
    if (!options_.split.empty()) name_the_rest(listed);
    finder_.tell(drafts_.warnings);
    return std::move(drafts_);
  }

 private:
  static fs::path annotation_folder(const fs::path& folder) {
    for (const char* name : {"Annotations", "annotations"})
      if (fs::is_directory(folder / name)) return folder / name;
    return folder;
  }

  std::vector<fs::path> picture_roots() const {
    std::vector<fs::path> roots;
    if (!options_.images.empty()) roots.push_back(options_.images);
    for (const char* name : {"JPEGImages", "images", "Images", ""})
      if (fs::is_directory(folder_ / name)) roots.push_back(folder_ / name);
    return roots;
  }

  // The path below the folder of annotations, without suffix.
  std::string stem_of(std::size_t file) const {
    return fs::path(files_.name(file)).replace_extension().string();
  }

  // The first of that stem; DigestMap::kNone: there is none.
  std::uint32_t file_of(const std::string& stem) const {
    return file_of_stem_.find(digest_of(stem));
  }

  // Calls take(annotation, file) in order.
  template <typename Take>
  void read_files(const std::string& what, const std::vector<std::uint32_t>& files, Take&& take) {
    auto next = files.begin();
    in_blocks<std::uint32_t, Annotation>(
        what, static_cast<std::int64_t>(files.size()), options_.threads,
        [&](std::uint32_t& file) {
          if (next == files.end()) return false;
          file = *next++;
          return true;
        },
        [this](std::uint32_t file, std::int64_t) { return read_annotation(files_[file]); },
        [&](Annotation& read, std::int64_t i) { take(read, files[static_cast<std::size_t>(i)]); });
  }

  fs::path split_list() const {
    std::vector<fs::path> tried;
    for (const char* sets : {"ImageSets/Main", "ImageSets", "ImageSets/Default"}) {
      tried.push_back(folder_ / sets / (options_.split + ".txt"));
      if (fs::is_regular_file(tried.back())) return tried.back();
    }
    throw DataError(fmt::format("{}: no such split list", tried.front().string()));
  }

  std::vector<std::uint32_t> listed_files() {
    std::vector<std::uint32_t> files;
    const fs::path list = split_list();
    std::int64_t number = 0;
    const std::string text = read_source_text(list);
    for (const std::string_view raw : lines_of(text)) {
      ++number;
      const std::string line(trimmed(raw));
      if (line.empty()) continue;
      const std::uint32_t file = listed_file(line);
      if (file != DigestMap::kNone)
        files.push_back(file);
      else
        drafts_.faults.push_back(
            {Fault::Of::kSample, fmt::format("{}:{}", list.string(), number),
             fmt::format("no such annotation: {}", (annotations_ / (line + ".xml")).string())});
    }
    return files;
  }

  // A line is a stem, with blanks or not; lists of one class have a column -1, 0 or 1 behind it,
  // and some tools write the picture's suffix. DigestMap::kNone when no annotation fits.
  std::uint32_t listed_file(const std::string& line) const {
    if (const std::uint32_t file = file_of(line); file != DigestMap::kNone) return file;
    const std::size_t last = line.find_last_of(" \t");
    const std::string flag = last == std::string::npos ? "" : line.substr(last + 1);
    if (flag == "1" || flag == "-1" || flag == "0") {
      const std::string stem(trimmed(std::string_view(line).substr(0, last)));
      if (const std::uint32_t file = file_of(stem); file != DigestMap::kNone) return file;
    }
    return file_of(fs::path(line).replace_extension().string());
  }

  void add(const std::string& stem, Annotation& read) {
    std::move(read.lost.begin(), read.lost.end(), std::back_inserter(drafts_.faults));
    if (!read.whole) return;
    Sample& sample = read.draft.sample;
    sample.name = fs::path(stem).filename().string();
    sample.source_id = drafts_.size();
    sample.pictures.front().path = picture_of(stem, read.filename);
    drafts_.add(std::move(read.draft));
  }

  // What the annotation names, beside where it stands in sub-folders too; else the picture of the
  // same stem.
  fs::path picture_of(const std::string& stem, const std::string& filename) {
    const fs::path below = fs::path(stem).parent_path();
    std::error_code error;
    if (!filename.empty())
      for (const fs::path& root : picture_roots())
        if (fs::is_regular_file(root / below / filename, error)) return root / below / filename;
    fs::path same_stem = finder_.find_stem(stem);
    if (!same_stem.empty()) return same_stem;
    return finder_.find(filename.empty() ? stem + ".jpg" : filename);
  }

  // Ids must not depend on which classes a split happens to hold: the names of all annotations
  // count.
  void name_the_rest(const std::vector<std::uint32_t>& listed) {
    std::vector<bool> known(files_.size(), false);
    for (const std::uint32_t file : listed) known[file] = true;
    std::vector<std::uint32_t> rest;
    for (std::size_t i = 0; i < files_.size(); ++i)
      if (!known[file_of(stem_of(i))]) rest.push_back(static_cast<std::uint32_t>(i));
    Tally unread(
        "annotations of other splits cannot be read, so that their classes are not counted");
    read_files("reading class names", rest, [&](const Annotation& other, std::uint32_t file) {
      if (!other.whole) unread.see(files_[file].string());
      for (const DraftObject& object : other.draft.objects) drafts_.also_name(object.category);
    });
    unread.tell(drafts_.warnings);
  }

  fs::path folder_;
  const ReadOptions& options_;
  fs::path annotations_;
  FileList files_;          // all annotations
  DigestMap file_of_stem_;  // which of them
  PictureFinder finder_;
  Drafts drafts_;
};

}  // namespace

Drafts read_voc(const fs::path& folder, const ReadOptions& options) {
  return VocReader(folder, options).read();
}

}  // namespace muster::data
