// Detections for people and programs: detections.json and one overlay PNG per image.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/encoder.h"
#include "data/image.h"
#include "data/pack.h"
#include "model/detector.h"
#include "trainer/evaluate.h"
#include "trainer/overlay.h"

namespace muster::trainer {

struct ImageDetections {
  std::string image;
  std::int64_t width = 0, height = 0;
  std::vector<LabelledDetection> kept;   // at or above the threshold, best first
  std::vector<float> scores;             // of all queries, best first
};

ImageDetections detect_image(const model::Detector& detector, const data::Tokenizer& tokenizer,
                             const data::ClassMap& classes, const data::SampleEncoder& encoder, const data::Image& image,
                             const std::string& name, double threshold);

// [{"image", "width", "height", "detections": [{"box": [x1, y1, x2, y2], "score", "caption", "category_id"}]}], stored pixels.
std::string to_json(const std::vector<ImageDetections>& images);
void draw(const data::Image& image, const ImageDetections& found, const std::filesystem::path& png,
          LabelFont& font);

// The score distribution and the threshold that would have kept some: what to say when nothing passes (FAILURES L-106).
std::string explain_scores(const std::vector<ImageDetections>& images, double threshold);

// The first `count` samples of a pack, drawn into `folder`, for the report.
void write_gallery(const model::Detector& detector, const data::Tokenizer& tokenizer, const data::Pack& pack,
                   const data::SampleEncoder& encoder, double threshold, std::int64_t count,
                   const std::filesystem::path& folder);

}  // namespace muster::trainer
