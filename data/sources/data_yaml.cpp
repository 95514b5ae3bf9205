#include "data/sources/data_yaml.h"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/yaml/yaml.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

[[noreturn]] void fail_yaml(const fs::path& file, const YAML::Mark& mark, const std::string& what) {
  throw DataError(fmt::format("{}:{}: {}", file.string(), mark.line + 1, what));
}

void add_name(ClassNames& names, std::int64_t id, const YAML::Node& name, const fs::path& file) {
  if (name.IsSequence() || name.IsMap())
    fail_yaml(file, name.Mark(), "a class name must be plain text");
  // The place of an empty node is where the next one begins.
  if (name.IsNull() || name.Scalar().empty())
    throw DataError(fmt::format("{}: class {} has no name", file.string(), id));
  if (!names.emplace(id, name.Scalar()).second)
    fail_yaml(file, name.Mark(), fmt::format("class {} is named twice", id));
}

std::int64_t class_number(const YAML::Node& key, const fs::path& file) {
  constexpr double kMost = 1e9;
  const std::optional<double> id = key.IsScalar() ? parse_number(key.Scalar()) : std::nullopt;
  if (!id || *id < 0 || *id > kMost || *id != std::floor(*id))
    fail_yaml(file, key.Mark(), "names are expected as 'number: name'");
  return static_cast<std::int64_t>(*id);
}

// The `names:` of a data yaml: a list, or a map of "number: name".
ClassNames parse_names(const YAML::Node& root, const fs::path& file) {
  ClassNames names;
  const YAML::Node listed = root.IsMap() ? root["names"] : YAML::Node(YAML::NodeType::Undefined);
  if (!listed) throw DataError(fmt::format("{}: no key 'names'", file.string()));
  if (listed.IsSequence()) {
    for (const YAML::Node& name : listed)
      add_name(names, static_cast<std::int64_t>(names.size()), name, file);
  } else if (listed.IsMap()) {
    for (const auto& entry : listed)
      add_name(names, class_number(entry.first, file), entry.second, file);
  } else {
    fail_yaml(file, listed.Mark(), "names must be a list or a map");
  }
  return names;
}

std::vector<std::string> parse_split(const YAML::Node& node, const char* key,
                                     const fs::path& file) {
  std::vector<std::string> places;
  if (node.IsScalar()) {
    if (!node.Scalar().empty()) places.push_back(node.Scalar());
    return places;
  }
  if (!node.IsSequence())
    fail_yaml(file, node.Mark(),
              fmt::format("{}: a folder, a list of pictures, or a list of those "
                          "is expected",
                          key));
  for (const YAML::Node& place : node) {
    if (!place.IsScalar())
      fail_yaml(file, place.Mark(), fmt::format("{}: a folder or a file is expected", key));
    places.push_back(place.Scalar());
  }
  return places;
}

YoloSet parse_data(const YAML::Node& root, const fs::path& file) {
  YoloSet set;
  set.file = file;
  set.names = parse_names(root, file);
  for (const char* key : {"train", "val", "valid", "validation", "test", "minival"})
    if (const YAML::Node node = root[key]; node && !node.IsNull())
      if (std::vector<std::string> places = parse_split(node, key, file); !places.empty())
        set.splits[key] = std::move(places);
  if (const YAML::Node path = root["path"]; path && path.IsScalar()) set.path = path.Scalar();
  if (const YAML::Node shape = root["kpt_shape"]; shape && shape.IsSequence() && shape.size() == 2)
    set.keypoint_numbers = shape[0].as<std::int64_t>() * shape[1].as<std::int64_t>();
  if (const YAML::Node count = root["nc"]; count && count.IsScalar()) {
    const std::optional<double> classes = parse_number(count.Scalar());
    if (classes && *classes != static_cast<double>(set.names.size()))
      set.warnings.push_back(fmt::format("{}: nc is {}, and there are {} names", file.string(),
                                         count.Scalar(), set.names.size()));
  }
  return set;
}

// A word that somebody put in quotes, without them.
std::string unquoted(const std::string& word) {
  const bool quoted = word.size() >= 2 && word.front() == word.back() &&
                      (word.front() == '"' || word.front() == '\'');
  return quoted ? word.substr(1, word.size() - 2) : word;
}

}  // namespace

YoloSet read_data_yaml(const fs::path& file) {
  try {
    const std::vector<YAML::Node> documents = parse_yaml(read_source_text(file));
    return parse_data(documents.empty() ? YAML::Node() : documents.front(), file);
  } catch (const YAML::Exception& error) {
    fail_yaml(file, error.mark, error.msg);
  }
}

ClassNames read_class_list(const fs::path& file) {
  ClassNames names;
  const std::string text = read_source_text(file);
  for (const std::string_view line : lines_of(text)) {
    const std::string name(trimmed(line));
    if (name.empty()) continue;
    names.emplace(static_cast<std::int64_t>(names.size()), unquoted(name));
  }
  return names;
}

// Lines of "key = value".
YoloSet read_darknet_data(const fs::path& file) {
  YoloSet set;
  set.file = file;
  fs::path names;
  const std::string text = read_source_text(file);
  for (const std::string_view line : lines_of(text)) {
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string key(trimmed(line.substr(0, equals)));
    const std::string value(trimmed(line.substr(equals + 1)));
    if (value.empty()) continue;
    if (key == "names") names = value;
    if (key == "train" || key == "valid" || key == "test") set.splits[key] = {value};
  }
  const fs::path folder = file.parent_path();
  for (const fs::path& place : {folder / names, folder / names.filename(), folder / "obj.names"}) {
    if (!fs::is_regular_file(place)) continue;
    set.names = read_class_list(place);
    return set;
  }
  throw DataError(
      fmt::format("{}: the file of class names ('names = ...') is not there", file.string()));
}

}  // namespace muster::data
