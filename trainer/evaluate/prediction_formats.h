// Detections in the forms of other programs, beside detections.json: COCO, the JSON lines that
// `muster pack` reads, YOLO labels, labelme. For any number of images in flat memory, but for the
// list of images of COCO.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "data/pack/class_map.h"
#include "trainer/evaluate/predictions.h"

namespace muster::trainer {

// muster: detections.json alone.
inline constexpr std::array<std::string_view, 5> kPredictionFormats = {"muster", "coco", "jsonl",
                                                                       "yolo", "labelme"};

// One of the forms, written image by image. What it writes under `folder`, boxes in stored pixels
// and cut to the picture:
// - coco: detections.coco.json, {"images": [{"id", "file_name", "width", "height"}],
//   "categories", "annotations": [{"id", "image_id", "category_id", "bbox": [x, y, w, h], "area",
//   "iscrowd", "score"}]}; ids from 1, categories as in training.
// - jsonl: detections.jsonl, a line {"image", "width", "height", "objects": [{"bbox_2d": [x1, y1,
//   x2, y2], "label", "score"}]} per image, which `muster pack` reads.
// - yolo: labels/NAME.txt, a line "class cx cy w h" per box, each 0..1, and classes.txt.
// - labelme: NAME.json per image, with rectangles.
// Paths of images are relative to `folder`. A caption that is no class of the training becomes a
// class after the others. NAME is the image's, with -2, -3 where it comes again.
class PredictionWriter {
 public:
  virtual ~PredictionWriter() = default;
  virtual void add(const ImageDetections& image) = 0;
  // Without it, one-file forms are absent and classes.txt is missing. Throws IoError.
  virtual void commit() = 0;
};

// Null for "muster". REQUIRES a format of the list.
std::unique_ptr<PredictionWriter> prediction_writer(std::string_view format,
                                                    const std::filesystem::path& folder,
                                                    const data::ClassMap& classes);

}  // namespace muster::trainer
