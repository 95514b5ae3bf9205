// Pascal VOC: Annotations/*.xml, JPEGImages/, ImageSets/Main/<split>.txt. Boxes are used as they
// stand, as pixel coordinates.
#include <fmt/core.h>

#include <sstream>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "data/sources/element.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

// A sample with the category names of its objects; ids are given once all names are known.
struct VocSample {
  Sample sample;
  std::vector<std::string> names;
};

const XmlElement& required(const XmlElement& parent, const char* name, const std::string& file) {
  const XmlElement* child = parent.child(name);
  if (child == nullptr)
    throw DataError(fmt::format("{}:{}: <{}> has no <{}>", file, parent.line, parent.name, name));
  return *child;
}

double number(const XmlElement& parent, const char* name, const std::string& file) {
  const XmlElement& element = required(parent, name, file);
  const std::optional<double> value = parse_number(element.text);
  if (!value)
    throw DataError(
        fmt::format("{}:{}: <{}> is '{}', no number", file, element.line, name, element.text));
  return *value;
}

fs::path find_image(const fs::path& folder, const std::string& filename, const std::string& stem) {
  const fs::path images = folder / "JPEGImages";
  if (!filename.empty() && fs::exists(images / filename)) return images / filename;
  for (const char* extension : {".jpg", ".jpeg", ".png", ".JPG"})
    if (fs::exists(images / (stem + extension))) return images / (stem + extension);
  return images / (filename.empty() ? stem + ".jpg" : filename);
}

VocSample read_annotation(const fs::path& folder, const std::string& stem) {
  const fs::path path = folder / "Annotations" / (stem + ".xml");
  const std::string file = path.string();
  if (!fs::exists(path))
    throw DataError(fmt::format("{}: no such annotation, though the split lists '{}'", file, stem));
  const XmlElement root = parse_xml(read_text(path), file);
  if (root.name != "annotation")
    throw DataError(
        fmt::format("{}:{}: <annotation> expected, found <{}>", file, root.line, root.name));
  VocSample made;
  Sample& sample = made.sample;
  sample.name = stem;
  sample.where = file;
  const XmlElement* filename = root.child("filename");
  Picture& picture = sample.pictures.emplace_back();
  picture.path = find_image(folder, filename == nullptr ? "" : filename->text, stem);
  const XmlElement& size = required(root, "size", file);
  picture.width = static_cast<std::int64_t>(number(size, "width", file));
  picture.height = static_cast<std::int64_t>(number(size, "height", file));
  for (const XmlElement& element : root.children) {
    if (element.name != "object") continue;
    Object object;
    object.caption = required(element, "name", file).text;
    if (object.caption.empty())
      throw DataError(fmt::format("{}:{}: <object> has an empty <name>", file, element.line));
    const XmlElement& box = required(element, "bndbox", file);
    object.box = {number(box, "xmin", file), number(box, "ymin", file), number(box, "xmax", file),
                  number(box, "ymax", file)};
    object.area = box_area(object.box);
    made.names.push_back(object.caption);
    sample.objects.push_back(std::move(object));
  }
  return made;
}

bool is_xml(const fs::path& path) { return path.extension() == ".xml"; }

std::vector<std::string> list_stems(const fs::path& folder, const std::string& split) {
  std::vector<std::string> stems;
  if (split.empty()) {
    for (const fs::path& path : list_files(folder / "Annotations", is_xml))
      stems.push_back(path.stem().string());
    return stems;
  }
  const fs::path list = folder / "ImageSets" / "Main" / (split + ".txt");
  if (!fs::exists(list)) throw DataError(fmt::format("{}: no such split list", list.string()));
  std::istringstream lines(read_text(list));
  for (std::string line, stem; std::getline(lines, line);)
    if (std::istringstream(line) >> stem)
      stems.push_back(stem);  // per-class lists have a second column
  return stems;
}

// The names of all annotations of the folder: ids must not depend on which classes a split happens
// to hold.
std::vector<std::string> all_names(const fs::path& folder) {
  const std::vector<fs::path> files = list_files(folder / "Annotations", is_xml);
  std::vector<std::vector<std::string>> of_file(files.size());
  parallel_for(
      "reading class names", static_cast<std::int64_t>(files.size()), 0, [&](std::int64_t i) {
        const auto at = static_cast<std::size_t>(i);
        const XmlElement root = parse_xml(read_text(files[at]), files[at].string());
        for (const XmlElement& element : root.children)
          if (const XmlElement* name = element.name == "object" ? element.child("name") : nullptr)
            of_file[at].push_back(name->text);
      });
  std::vector<std::string> names;
  for (const auto& found : of_file) names.insert(names.end(), found.begin(), found.end());
  return names;
}

}  // namespace

Source read_voc(const fs::path& folder, const std::string& split) {
  const std::vector<std::string> stems = list_stems(folder, split);
  std::vector<VocSample> read(stems.size());
  parallel_for("reading annotations", static_cast<std::int64_t>(stems.size()), 0,
               [&](std::int64_t i) {
                 const auto at = static_cast<std::size_t>(i);
                 read[at] = read_annotation(folder, stems[at]);
                 read[at].sample.source_id = i;
               });
  Source source{"voc", {}, {}, {}, {}};
  std::vector<std::vector<std::string>> names;
  for (VocSample& entry : read) {
    source.samples.push_back(std::move(entry.sample));
    names.push_back(std::move(entry.names));
  }
  number_categories(source, names, split.empty() ? std::vector<std::string>{} : all_names(folder));
  return source;
}

}  // namespace muster::data
