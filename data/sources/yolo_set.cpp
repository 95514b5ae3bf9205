// Which file of a YOLO set's folder names the classes.
#include <fmt/core.h>

#include <algorithm>

#include "base/files.h"
#include "base/text.h"
#include "data/sources/data_yaml.h"
#include "data/sources/file_list.h"

namespace muster::data {
namespace {

bool is_yaml(const fs::path& path) {
  const std::string suffix = lower_extension(path);
  return suffix == ".yaml" || suffix == ".yml";
}
bool is_darknet_data(const fs::path& path) { return lower_extension(path) == ".data"; }

bool is_usual_yaml(const fs::path& path) {
  return path.filename() == "data.yaml" || path.filename() == "dataset.yaml";
}

// Says which other yamls stand beside the first one.
YoloSet read_first(const std::vector<fs::path>& yamls) {
  const fs::path& taken = yamls.front();
  YoloSet set = read_data_yaml(taken);
  std::vector<std::string> others;
  for (const fs::path& other : yamls)
    if (other != taken && other.parent_path() == taken.parent_path())
      others.push_back(other.filename().string());
  if (!others.empty())
    set.warnings.push_back(
        fmt::format("{}: class names and splits are read from {}; also there: {}",
                    taken.parent_path().string(), taken.filename().string(), join(others, ", ")));
  return set;
}

YoloSet of_list(const fs::path& list) {
  YoloSet set;
  set.file = list;
  set.names = read_class_list(list);
  return set;
}

}  // namespace

std::optional<YoloSet> find_yolo_set(const fs::path& folder) {
  std::vector<fs::path> yamls = files_in(folder, is_yaml).paths();
  std::stable_partition(yamls.begin(), yamls.end(), is_usual_yaml);
  if (!yamls.empty() && is_usual_yaml(yamls.front())) return read_first(yamls);
  const FileList darknet = files_in(folder, is_darknet_data);
  if (!darknet.empty()) return read_darknet_data(darknet[0]);
  for (const char* list : {"classes.txt", "obj.names", "classes.names", "predefined_classes.txt",
                           "labels/classes.txt"})
    if (there_is_file(folder / list)) return of_list(folder / list);
  if (!yamls.empty()) return read_first(yamls);
  return std::nullopt;
}

}  // namespace muster::data
