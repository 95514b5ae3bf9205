#include "data/sources/sources.h"

#include <fmt/core.h>

#include <utility>

#include "base/error.h"
#include "data/sources/draft.h"
#include "data/sources/layout.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

Drafts read_drafts(const Layout& layout, const ReadOptions& options) {
  if (layout.format == "voc") return read_voc(layout.path, options);
  if (layout.format == "yolo") return read_yolo(layout.path, options);
  if (layout.format == "coco") return read_coco(layout.path, options);
  if (layout.format == "cvat") return read_cvat(layout.path, options);
  if (layout.format == "label-studio") return read_label_studio(layout.path, options);
  return read_rows(layout.path, options);
}

}  // namespace

Source read_source(const std::filesystem::path& path, const ReadOptions& options) {
  try {
    const Layout layout = find_layout(path, options.format, options.split);
    ReadOptions of_reader = options;
    of_reader.split = layout.split;
    return finish(read_drafts(layout, of_reader), of_reader);
  } catch (const std::filesystem::filesystem_error& error) {
    // A name from the source that no file system takes, a folder that may not be read.
    throw DataError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

Source read_source(const std::filesystem::path& path, const std::string& format,
                   const std::string& split) {
  ReadOptions options;
  options.format = format;
  options.split = split;
  return read_source(path, options);
}

}  // namespace muster::data
