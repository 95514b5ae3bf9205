#include "data/sources/layout.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/sources/junk.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/splits.h"

namespace muster::data {
namespace {

constexpr std::array kFormats{"voc", "coco", "yolo", "jsonl", "cvat", "label-studio"};

bool has_suffix(const fs::path& path, std::initializer_list<const char*> suffixes) {
  const std::string own = lower_extension(path);
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](const char* suffix) { return own == suffix; });
}
bool is_xml_file(const fs::path& path) { return has_suffix(path, {".xml"}); }
bool is_json_file(const fs::path& path) { return has_suffix(path, {".json"}); }
bool is_table_file(const fs::path& path) { return has_suffix(path, {".csv"}); }
bool is_rows_file(const fs::path& path) {
  const bool metadata = lower_case(path.filename().string()) == "metadata.csv";
  return has_suffix(path, {".jsonl", ".ndjson"}) || metadata;
}
bool is_yolo_file(const fs::path& path) { return has_suffix(path, {".yaml", ".yml", ".data"}); }

std::string beginning_of(const fs::path& file) {
  constexpr std::size_t kEnough = 65536;
  std::string text(kEnough, '\0');
  std::ifstream in(file, std::ios::binary);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.starts_with("\xff\xfe") && text.size() % 2 != 0) text.pop_back();
  return without_byte_order_mark(std::move(text), file.string());
}

// Whether a text that begins with '{' has its first object closed in its first line, and goes on.
bool has_json_lines(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return false;
  const std::string_view line = trimmed(text.substr(0, end));
  return line.ends_with('}') && trimmed(text.substr(end)).starts_with('{');
}

std::string format_of_json(const fs::path& file) {
  const std::string text = beginning_of(file);
  const auto says = [&](const char* key) {
    return text.find(fmt::format("\"{}\"", key)) != std::string::npos;
  };
  const std::string_view start = trimmed(text);
  if (start.starts_with('[')) {
    const bool talks = says("messages") || says("conversations");
    const bool tasks = says("data") && (says("annotations") || says("completions"));
    const bool minimal = says("original_width") || says("annotation_id");
    return !talks && (tasks || minimal) ? "label-studio" : "jsonl";
  }
  const bool coco = says("images") && (says("annotations") || says("categories"));
  if (has_json_lines(start)) return "jsonl";
  const bool one_row = !coco && (says("messages") || says("conversations"));
  return one_row ? "jsonl" : "coco";
}

// One file for all pictures, as CVAT writes it: VOC's root is <annotation>.
bool is_cvat(const fs::path& file) {
  return is_xml_file(file) && beginning_of(file).find("<annotations>") != std::string::npos;
}
// The name that CVAT gives it in a folder, so that not every file of a large VOC is opened.
bool is_cvat_file(const fs::path& file) {
  return lower_case(file.filename().string()).starts_with("annotations") && is_cvat(file);
}

std::string format_of_file(const fs::path& file) {
  if (is_rows_file(file) || is_table_file(file)) return "jsonl";
  if (is_cvat(file)) return "cvat";
  if (is_json_file(file)) return format_of_json(file);
  if (is_yolo_file(file)) return "yolo";
  if (is_xml_file(file))
    throw DataError(fmt::format("{}: one annotation: give the folder of them", file.string()));
  return "";
}

bool has_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// The split that an annotation file is of: "train" of instances_train2017.json, "" of names that
// say nothing.
std::string split_of_file(const fs::path& file) {
  std::string stem = lower_case(file.stem().string());
  if (stem.ends_with(".coco")) stem.resize(stem.size() - 5);
  while (!stem.empty() && stem.back() >= '0' && stem.back() <= '9') stem.pop_back();
  if (stem == "metadata" || stem == "_annotations" || stem == "annotations" || stem == "result")
    return "";
  const std::size_t at = stem.find_last_of("_-.");
  return at == std::string::npos ? stem : stem.substr(at + 1);
}

[[noreturn]] void ask_for_split(const fs::path& folder, const std::vector<std::string>& splits) {
  throw UsageError(fmt::format("{}: there are the splits {}; name one with --split",
                               folder.string(), join(splits, ", ")));
}
[[noreturn]] void no_such_split(const fs::path& folder, const std::string& split,
                                const std::vector<std::string>& splits) {
  throw UsageError(fmt::format(
      "{}: no split '{}'; {}", folder.string(), split,
      splits.empty() ? "it has none: leave --split out" : "there are " + join(splits, ", ")));
}

class LayoutFinder {
 public:
  LayoutFinder(const std::string& format, const std::string& split)
      : format_(format), split_(split) {}

  std::optional<Layout> in_folder(const fs::path& folder, int depth) const {
    if (wants("voc") && is_voc(folder)) return voc(folder);
    if (wants("coco") && there_is_file(folder / "annotations.json"))
      return one_file(folder, {folder / "annotations.json"}, "coco");
    if (wants("yolo") && is_yolo(folder)) return Layout{"yolo", folder, split_};
    if (const auto found = annotation_files(folder)) return found;
    if (depth > 0)
      if (const auto found = in_split_folders(folder, depth)) return found;
    if (wants("voc") && !files_in(folder, is_xml_file).empty()) return plain(folder, "voc");
    if (wants("yolo") && has_class_list(folder)) return Layout{"yolo", folder, split_};
    return std::nullopt;
  }

 private:
  bool wants(const char* format) const { return format_.empty() || format_ == format; }

  Layout plain(const fs::path& path, const std::string& format) const {
    if (!split_.empty()) no_such_split(path, split_, {});
    return {format, path, ""};
  }

  static bool is_voc(const fs::path& folder) {
    if (has_folder(folder / "Annotations")) return true;
    const fs::path annotations = folder / "annotations";
    return has_folder(annotations) && !list_files(annotations, is_xml_file).empty();
  }

  // A list of the split, else a folder of the split with its own Annotations/.
  Layout voc(const fs::path& folder) const {
    if (split_.empty()) return {"voc", folder, ""};
    std::vector<std::string> lists;
    for (const char* sets : {"ImageSets/Main", "ImageSets"})
      for (const fs::path& list :
           files_in(folder / sets, [](const fs::path& p) { return has_suffix(p, {".txt"}); }))
        lists.push_back(list.stem().string());
    const std::string list = matching_split(lists, split_);
    // The reader names the list that is missing.
    return {"voc", folder, list.empty() ? split_ : list};
  }

  static bool is_yolo(const fs::path& folder) {
    const bool folders = has_folder(folder / "images") && has_folder(folder / "labels");
    return folders || there_is_file(folder / "data.yaml") || there_is_file(folder / "obj.data") ||
           (!files_in(folder, is_yolo_file).empty() && has_yolo_pictures(folder));
  }

  static bool has_yolo_pictures(const fs::path& folder) {
    const std::vector<fs::path> below = folders_in(folder);
    return has_folder(folder / "images") ||
           std::any_of(below.begin(), below.end(),
                       [](const fs::path& split) { return has_folder(split / "images"); });
  }

  static bool has_class_list(const fs::path& folder) {
    return there_is_file(folder / "classes.txt") || there_is_file(folder / "obj.names");
  }

  // The JSON files of the folder, or of its annotations/, that hold a set.
  std::optional<Layout> annotation_files(const fs::path& folder) const {
    std::map<std::string, std::vector<fs::path>> of_format;
    for (const fs::path& place : {folder, folder / "annotations"}) {
      for (const fs::path& file : files_in(place, is_rows_file)) of_format["jsonl"].push_back(file);
      for (const fs::path& file : files_in(place, is_json_file))
        if (!is_note(file)) of_format[format_of_json(file)].push_back(file);
      for (const fs::path& file : files_in(place, is_cvat_file)) of_format["cvat"].push_back(file);
    }
    for (const char* format : {"coco", "jsonl", "cvat", "label-studio"}) {
      if (!wants(format) || of_format[format].empty()) continue;
      return one_file(folder, of_format[format], format);
    }
    return std::nullopt;
  }

  // JSON that tools put beside a set: no annotations in it.
  static bool is_note(const fs::path& file) {
    const std::string name = lower_case(file.filename().string());
    return name == "notes.json" || name == "dataset_info.json" || name == "labels.json" ||
           name == "package.json" || name == "state.json" || name.ends_with("config.json");
  }

  // The file of the split; of the published COCO set's many files, instances_* counts.
  std::optional<Layout> one_file(const fs::path& folder, std::vector<fs::path> files,
                                 const std::string& format) const {
    const auto is_instances = [](const fs::path& file) {
      return file.filename().string().starts_with("instances");
    };
    if (std::any_of(files.begin(), files.end(), is_instances))
      std::erase_if(files, [&](const fs::path& file) { return !is_instances(file); });
    std::vector<std::string> splits;
    for (const fs::path& file : files) splits.push_back(split_of_file(file));
    if (split_.empty()) {
      if (files.size() == 1) return Layout{format, files.front(), ""};
      for (std::size_t i = 0; i < files.size(); ++i)
        if (splits[i].empty()) splits[i] = files[i].filename().string();
      ask_for_split(folder, splits);
    }
    const std::string split = matching_split(splits, split_);
    if (!split.empty()) {
      const auto at = std::find(splits.begin(), splits.end(), split) - splits.begin();
      return Layout{format, files[static_cast<std::size_t>(at)], ""};
    }
    if (split_folder(folder).empty()) no_such_split(folder, split_, splits);
    return std::nullopt;
  }

  // The folder of the split that was asked for; empty when there is none.
  fs::path split_folder(const fs::path& folder) const {
    for (const std::string& name : split_names(split_))
      if (has_folder(folder / name)) return folder / name;
    return {};
  }

  std::optional<Layout> in_split_folders(const fs::path& folder, int depth) const {
    const LayoutFinder whole(format_, "");
    if (!split_.empty()) {
      const fs::path place = split_folder(folder);
      if (!place.empty())
        if (auto found = whole.in_folder(place, depth - 1)) return found;
    }
    std::vector<std::string> names;
    std::vector<Layout> found;
    for (const fs::path& place : folders_in(folder)) {
      try {
        // What a folder of splits holds in turn is asked for with the same --split.
        const LayoutFinder& finder = split_.empty() ? whole : *this;
        if (auto layout = finder.in_folder(place, depth - 1)) {
          names.push_back(place.filename().string());
          found.push_back(*layout);
        }
      } catch (const UsageError&) {
        if (!split_.empty()) continue;
        throw;
      }
    }
    if (found.size() == 1) return found.front();
    if (found.empty()) {
      if (!split_.empty()) refuse_split(folder, whole, depth);
      return std::nullopt;
    }
    if (split_.empty()) ask_for_split(folder, names);
    no_such_split(folder, split_, names);
  }

  // Names the folders that are splits, when there are any.
  void refuse_split(const fs::path& folder, const LayoutFinder& whole, int depth) const {
    std::vector<std::string> names;
    for (const fs::path& place : folders_in(folder))
      if (whole.in_folder(place, depth - 1)) names.push_back(place.filename().string());
    if (!names.empty()) no_such_split(folder, split_, names);
  }

  const std::string& format_;
  std::string split_;
};

}  // namespace

Layout find_layout(const fs::path& path, const std::string& format, const std::string& split) {
  if (!fs::exists(path)) throw DataError(fmt::format("{}: no such file or folder", path.string()));
  if (!format.empty() && std::find(kFormats.begin(), kFormats.end(), format) == kFormats.end())
    throw UsageError(
        fmt::format("unknown format '{}'; voc, coco, yolo, jsonl, cvat and label-studio "
                    "are known",
                    format));
  if (fs::is_regular_file(path)) {
    const std::string kind = format.empty() ? format_of_file(path) : format;
    const bool one_split = kind != "voc" && kind != "yolo" && !kind.empty();
    if (one_split && !split.empty())
      throw UsageError(fmt::format(
          "{}: a {} file is one split: give that file and leave --split out", path.string(), kind));
    if (!kind.empty()) return {kind, path, split};
  } else {
    constexpr int kLevels = 2;
    if (const auto found = LayoutFinder(format, split).in_folder(path, kLevels)) return *found;
    if (format == "voc" || format == "yolo") return {format, path, split};
  }
  throw DataError(fmt::format(
      "{}: format not recognised; looked for a folder with Annotations/ or .xml (voc), with "
      "annotations.json, _annotations.coco.json or another COCO file (coco), with data.yaml, "
      "obj.data, classes.txt or images/ and labels/ (yolo), for JSON lines, a JSON list or "
      "metadata.csv (jsonl), CVAT's annotations.xml (cvat), a task export (label-studio), and the "
      "same in folders of splits; or name it with --format",
      path.string()));
}

}  // namespace muster::data
