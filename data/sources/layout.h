// Which files of a folder are a data set, and which of its splits is meant.
#pragma once

#include <filesystem>
#include <string>

namespace muster::data {

struct Layout {
  std::string format;          // voc | coco | yolo | jsonl | label-studio
  std::filesystem::path path;  // the file or folder that the format's reader takes
  std::string split;           // that the reader itself resolves; empty: everything in `path`
};

// `format` and `split` as in ReadOptions. Throws DataError listing what was looked for, UsageError
// listing the splits when there are several and none was asked for, or another.
Layout find_layout(const std::filesystem::path& path, const std::string& format,
                   const std::string& split);

}  // namespace muster::data
