#include "data/sources/sources.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "data/sources/readers.h"

namespace muster::data {
namespace {

std::string recognise(const fs::path& path) {
  if (fs::is_directory(path / "Annotations")) return "voc";
  if (fs::is_regular_file(path / "annotations.json")) return "coco";
  if (fs::is_directory(path / "images") && fs::is_directory(path / "labels")) return "yolo";
  if (lower_extension(path) == ".jsonl") return "jsonl";
  if (lower_extension(path) == ".json") return "coco";
  throw DataError(fmt::format(
      "{}: format not recognised; looked for a folder with Annotations/ (voc), with "
      "annotations.json (coco) or "
      "with images/ and labels/ (yolo), a .json (coco), a .jsonl (jsonl); or name it with --format",
      path.string()));
}

}  // namespace

Source read_source(const fs::path& path, const std::string& format, const std::string& split) {
  if (!fs::exists(path)) throw DataError(fmt::format("{}: no such file or folder", path.string()));
  const std::string kind = format.empty() ? recognise(path) : format;
  if (kind == "voc") return read_voc(path, split);
  if (kind == "yolo") return read_yolo(path, split);
  if (kind != "coco" && kind != "jsonl")
    throw UsageError(fmt::format("unknown format '{}'; voc, coco, yolo or jsonl are known", kind));
  if (!split.empty())
    throw UsageError(fmt::format("{}: a {} file is one split: give that file and leave --split out",
                                 path.string(), kind));
  if (kind == "jsonl") return read_jsonl(path);
  return read_coco(fs::is_directory(path) ? path / "annotations.json" : path);
}

}  // namespace muster::data
