// One reader per family of annotation formats. They parse; data/ingest judges boxes and pictures.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/sources/draft.h"

namespace muster::data {

// A folder of Pascal VOC: Annotations/ and JPEGImages/, or XML beside the pictures.
// `options.split` names a list in ImageSets/; empty: every annotation.
Drafts read_voc(const std::filesystem::path& folder, const ReadOptions& options);

// A COCO file.
Drafts read_coco(const std::filesystem::path& file, const ReadOptions& options);

// A folder, or its data yaml, of YOLO in any layout.
Drafts read_yolo(const std::filesystem::path& source, const ReadOptions& options);

// A file of rows, one sample each: JSON lines, one JSON array, or Hugging Face's metadata.csv.
Drafts read_rows(const std::filesystem::path& file, const ReadOptions& options);

// An XML of CVAT for images 1.1.
Drafts read_cvat(const std::filesystem::path& file, const ReadOptions& options);

// A task export of Label Studio, JSON or JSON-MIN.
Drafts read_label_studio(const std::filesystem::path& file, const ReadOptions& options);

}  // namespace muster::data
