// YOLO: images/<split>/**, labels/<split>/**.txt with "class cx cy w h" in [0,1], names in a data
// yaml or classes.txt.
#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <cmath>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "data/images/picture_file.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

constexpr double kRounding = 1e-5;  // of a side; label files carry six decimals

using Names = std::map<std::int64_t, std::string>;

[[noreturn]] void fail(const fs::path& file, const YAML::Mark& mark, const std::string& what) {
  throw DataError(fmt::format("{}:{}: {}", file.string(), mark.line + 1, what));
}

void add_name(Names& names, std::int64_t id, const YAML::Node& name, const fs::path& file) {
  if (name.IsSequence() || name.IsMap()) fail(file, name.Mark(), "a class name must be plain text");
  // The place of an empty node is where the next one begins.
  if (name.IsNull() || name.Scalar().empty())
    throw DataError(fmt::format("{}: class {} has no name", file.string(), id));
  if (!names.emplace(id, name.Scalar()).second)
    fail(file, name.Mark(), fmt::format("class {} is named twice", id));
}

std::int64_t class_number(const YAML::Node& key, const fs::path& file) {
  constexpr double kMost = 1e9;
  const std::optional<double> id = key.IsScalar() ? parse_number(key.Scalar()) : std::nullopt;
  if (!id || *id < 0 || *id > kMost || *id != std::floor(*id))
    fail(file, key.Mark(), "names are expected as 'number: name'");
  return static_cast<std::int64_t>(*id);
}

// The `names:` of a data yaml: a list, or a map of "number: name".
Names parse_names(const YAML::Node& root, const fs::path& file) {
  Names names;
  const YAML::Node listed = root.IsMap() ? root["names"] : YAML::Node(YAML::NodeType::Undefined);
  if (!listed) throw DataError(fmt::format("{}: no key 'names'", file.string()));
  if (listed.IsSequence()) {
    for (const YAML::Node& name : listed)
      add_name(names, static_cast<std::int64_t>(names.size()), name, file);
  } else if (listed.IsMap()) {
    for (const auto& entry : listed)
      add_name(names, class_number(entry.first, file), entry.second, file);
  } else {
    fail(file, listed.Mark(), "names must be a list or a map");
  }
  return names;
}

Names names_from_yaml(const fs::path& file) {
  try {
    return parse_names(YAML::Load(read_text(file)), file);
  } catch (const YAML::Exception& error) {
    fail(file, error.mark, error.msg);
  }
}

// A word that somebody put in quotes, without them.
std::string unquoted(const std::string& word) {
  const bool quoted = word.size() >= 2 && word.front() == word.back() &&
                      (word.front() == '"' || word.front() == '\'');
  return quoted ? word.substr(1, word.size() - 2) : word;
}

// classes.txt: one name per line.
Names names_from_list(const fs::path& file) {
  Names names;
  std::istringstream lines(read_text(file));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    const std::size_t last = line.find_last_not_of(" \t\r");
    const auto id = static_cast<std::int64_t>(names.size());
    names.emplace(id, unquoted(line.substr(first, last - first + 1)));
  }
  return names;
}

bool is_yaml(const fs::path& path) {
  return path.extension() == ".yaml" || path.extension() == ".yml";
}

Names read_names(const fs::path& folder) {
  if (fs::exists(folder / "data.yaml")) return names_from_yaml(folder / "data.yaml");
  if (fs::exists(folder / "classes.txt")) return names_from_list(folder / "classes.txt");
  for (const auto& entry : fs::directory_iterator(folder))
    if (is_yaml(entry.path())) return names_from_yaml(entry.path());
  throw DataError(
      fmt::format("{}: class names are looked for in data.yaml, classes.txt or another *.yaml, and "
                  "there is none",
                  folder.string()));
}

// A label line, in pixels.
Object read_label(const std::string& line, const Sample& sample, const Names& names) {
  std::istringstream words(line);
  std::vector<double> values;
  for (std::string word; words >> word;) {
    const std::optional<double> value = parse_number(word);
    if (!value) throw DataError(fmt::format("'{}' is no number", word));
    values.push_back(*value);
  }
  if (values.size() != 5)
    throw DataError(fmt::format("{} numbers, expected 5: class cx cy w h", values.size()));
  Object object;
  object.category = values[0] >= 0 && values[0] < 1e9 ? static_cast<std::int64_t>(values[0]) : -1;
  const auto name = names.find(object.category);
  if (name == names.end() || static_cast<double>(object.category) != values[0])
    throw DataError(fmt::format("class {} is not among the {} names", values[0], names.size()));
  object.caption = name->second;
  const auto width = static_cast<double>(sample.pictures[0].width),
             height = static_cast<double>(sample.pictures[0].height);
  object.box = {(values[1] - values[3] / 2) * width, (values[2] - values[4] / 2) * height,
                (values[1] + values[3] / 2) * width, (values[2] + values[4] / 2) * height};
  snap_to_border(object.box, width, height, kRounding * width, kRounding * height);
  object.area = box_area(object.box);
  return object;
}

void read_labels(Sample& sample, const Names& names) {
  if (!fs::exists(sample.where)) return;  // YOLO's way to say: no objects
  std::istringstream lines(read_text(sample.where));
  std::string line;
  for (std::int64_t number = 1; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      sample.objects.push_back(read_label(line, sample, names));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}:{}: {}", sample.where, number, error.what()));
    }
  }
}

}  // namespace

Source read_yolo(const fs::path& folder, const std::string& split) {
  const Names names = read_names(folder);
  const fs::path images = folder / "images" / split, labels = folder / "labels" / split;
  if (!fs::is_directory(images))
    throw DataError(fmt::format("{}: no such folder of images", images.string()));
  const std::vector<fs::path> files = list_files(images, is_picture_file);
  Source source{"yolo", std::vector<Sample>(files.size()), {}, {}, {}};
  for (const auto& [id, name] : names) source.categories.push_back({id, name});
  parallel_for("reading labels", static_cast<std::int64_t>(files.size()), 0, [&](std::int64_t i) {
    Sample& sample = source.samples[i];
    sample.pictures = {{.path = files[i]}};
    sample.name = files[i].stem().string();
    sample.source_id = i;
    sample.where = (labels / fs::relative(files[i], images)).replace_extension(".txt").string();
    record_stored_size(sample);
    read_labels(sample, names);
  });
  return source;
}

}  // namespace muster::data
