// YOLO: images/<split>/**, labels/<split>/**.txt with "class cx cy w h" in [0,1], names in a data
// yaml or classes.txt.
#include <fmt/core.h>

#include <map>
#include <sstream>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/parallel.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

constexpr double kRounding = 1e-5;  // of a side; label files carry six decimals

std::string unquote(std::string text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  text = text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
  if (text.size() >= 2 && (text.front() == '\'' || text.front() == '"') &&
      text.back() == text.front())
    return text.substr(1, text.size() - 2);
  return text;
}

// "a, 'b, c'" -> a | b, c
std::vector<std::string> split_flow(const std::string& text) {
  std::vector<std::string> parts(1);
  char quote = 0;
  for (const char c : text) {
    if (quote == 0 && c == ',') {
      parts.emplace_back();
      continue;
    }
    if (quote == 0 && (c == '\'' || c == '"'))
      quote = c;
    else if (c == quote)
      quote = 0;
    parts.back() += c;
  }
  if (unquote(parts.back()).empty()) parts.pop_back();  // a trailing comma
  return parts;
}

class NamesReader {
 public:
  explicit NamesReader(const fs::path& path) : file_(path.string()), lines_(read_text(path)) {}

  // The `names:` of a data yaml in its three published forms: [a, b], a block of "- a", a block (or
  // flow map) of "0: a".
  std::map<std::int64_t, std::string> from_yaml() {
    for (std::string line; next(line);) {
      if (!line.starts_with("names:")) continue;
      std::string value = unquote(line.substr(6));
      if (value.empty())
        block();
      else
        flow(std::move(value));
      return names_;
    }
    throw DataError(fmt::format("{}: no key 'names'", file_));
  }

  std::map<std::int64_t, std::string> from_list() {
    for (std::string line; next(line);)
      if (const std::string name = unquote(line); !name.empty()) add(count(), name);
    return names_;
  }

 private:
  bool next(std::string& line) {
    ++line_;
    return static_cast<bool>(std::getline(lines_, line));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}:{}: {}", file_, line_, what));
  }
  std::int64_t count() const { return static_cast<std::int64_t>(names_.size()); }
  void add(std::int64_t id, const std::string& name) {
    if (name.empty()) fail("a class without a name");
    if (!names_.emplace(id, name).second) fail(fmt::format("class {} is named twice", id));
  }

  void entry(const std::string& text) {  // "0: a"
    const std::size_t colon = text.find(':');
    const std::optional<double> id = parse_number(unquote(text.substr(0, colon)));
    if (colon == std::string::npos || !id || *id < 0 ||
        *id != static_cast<double>(static_cast<std::int64_t>(*id)))
      fail(fmt::format("'{}' is no 'number: name'", unquote(text)));
    add(static_cast<std::int64_t>(*id), unquote(text.substr(colon + 1)));
  }

  void flow(std::string value) {
    const char open = value.front();
    if (open != '[' && open != '{') fail("names must be a list or a map");
    const char close = open == '[' ? ']' : '}';
    for (std::string line; value.find(close) == std::string::npos;) {  // a list over several lines
      if (!next(line)) fail(fmt::format("the file ends where '{}' is expected", close));
      value += line;
    }
    for (const std::string& part : split_flow(value.substr(1, value.rfind(close) - 1))) {
      if (open == '{')
        entry(part);
      else
        add(count(), unquote(part));
    }
  }

  void block() {
    for (std::string line; next(line);) {
      const std::size_t first = line.find_first_not_of(" \t\r");
      if (first == std::string::npos || line[first] == '#') continue;
      if (line[first] == '-')
        add(count(), unquote(line.substr(first + 1)));
      else if (first == 0)
        return;  // the next key
      else
        entry(line);
    }
  }

  std::string file_;
  std::istringstream lines_;
  std::int64_t line_ = 0;
  std::map<std::int64_t, std::string> names_;
};

bool is_yaml(const fs::path& path) {
  return path.extension() == ".yaml" || path.extension() == ".yml";
}

std::map<std::int64_t, std::string> read_names(const fs::path& folder) {
  if (fs::exists(folder / "data.yaml")) return NamesReader(folder / "data.yaml").from_yaml();
  if (fs::exists(folder / "classes.txt")) return NamesReader(folder / "classes.txt").from_list();
  for (const auto& entry : fs::directory_iterator(folder))
    if (is_yaml(entry.path())) return NamesReader(entry.path()).from_yaml();
  throw DataError(
      fmt::format("{}: class names are looked for in data.yaml, classes.txt or another *.yaml, and "
                  "there is none",
                  folder.string()));
}

// A label line, in pixels.
Object read_label(const std::string& line, const Sample& sample,
                  const std::map<std::int64_t, std::string>& names) {
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
  const auto width = static_cast<double>(sample.width), height = static_cast<double>(sample.height);
  object.box = {(values[1] - values[3] / 2) * width, (values[2] - values[4] / 2) * height,
                (values[1] + values[3] / 2) * width, (values[2] + values[4] / 2) * height};
  snap_to_border(object.box, width, height, kRounding * width, kRounding * height);
  object.area = box_area(object.box);
  return object;
}

void read_labels(Sample& sample, const std::map<std::int64_t, std::string>& names) {
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
  const std::map<std::int64_t, std::string> names = read_names(folder);
  const fs::path images = folder / "images" / split, labels = folder / "labels" / split;
  if (!fs::is_directory(images))
    throw DataError(fmt::format("{}: no such folder of images", images.string()));
  const std::vector<fs::path> files = list_files(images, is_image_file);
  Source source{"yolo", std::vector<Sample>(files.size()), {}};
  for (const auto& [id, name] : names) source.categories.push_back({id, name});
  parallel_for("reading labels", static_cast<std::int64_t>(files.size()), 0, [&](std::int64_t i) {
    Sample& sample = source.samples[static_cast<std::size_t>(i)];
    sample.image = files[static_cast<std::size_t>(i)];
    sample.name = sample.image.stem().string();
    sample.source_id = i;
    sample.where = (labels / fs::relative(sample.image, images)).replace_extension(".txt").string();
    record_stored_size(sample);
    read_labels(sample, names);
  });
  return source;
}

}  // namespace muster::data
