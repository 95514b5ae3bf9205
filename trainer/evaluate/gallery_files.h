// What a run leaves of its predictions, for the report and for `muster look`: pictures of the
// validation set with what was found, and the truth beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "trainer/show/tensorboard.h"

namespace muster::trainer {

// The samples to show, `count` at most: the worst ones first (most false and missed boxes; the
// earlier one among equals). `errors`: per `samples`; where it is empty, the first ones.
std::vector<std::int64_t> worst_samples(std::span<const std::int64_t> samples,
                                        std::span<const std::int64_t> errors, std::size_t count);

// Writes into `folder`, per picture of the samples: NAME.png with the predicted boxes drawn, and
// pictures/NAME.jpg as it is; detections.json, and judged.json (trainer/show/judged_pictures.h).
// REQUIRES the detector in evaluation mode.
void write_gallery(const model::Detector& detector, const data::Tokenizer& tokenizer,
                   const data::SampleSet& set, const data::SampleEncoder& encoder, double threshold,
                   std::span<const std::int64_t> samples, const std::filesystem::path& folder);

// The pictures of the samples with what is found in them now. REQUIRES the detector in evaluation
// mode.
std::vector<PngPicture> drawn_samples(const model::Detector& detector,
                                      const data::Tokenizer& tokenizer, const data::SampleSet& set,
                                      const data::SampleEncoder& encoder, double threshold,
                                      std::span<const std::int64_t> samples);

}  // namespace muster::trainer
