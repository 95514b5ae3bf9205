// What a YOLO set says of itself: the names of its classes and where its splits lie. A data.yaml as
// Ultralytics documents it, a Darknet obj.data, or a list of names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace muster::data {

using ClassNames = std::map<std::int64_t, std::string>;

struct YoloSet {
  std::filesystem::path file;  // it was read from
  std::string path;            // the yaml's `path:`, "" when absent
  ClassNames names;
  // "train" -> the folders and lists of pictures it names, as written.
  std::map<std::string, std::vector<std::string>> splits;
  std::int64_t keypoint_numbers = 0;  // behind each box, of a pose set
  std::vector<std::string> warnings;
};

// What stands in the folder: data.yaml, a Darknet *.data, a list of names or another yaml, in this
// order; nothing when none is there.
std::optional<YoloSet> find_yolo_set(const std::filesystem::path& folder);

// Throw DataError "FILE:line: ...".
YoloSet read_data_yaml(const std::filesystem::path& file);
YoloSet read_darknet_data(const std::filesystem::path& file);   // names in the file it names
ClassNames read_class_list(const std::filesystem::path& file);  // one name per line

}  // namespace muster::data
