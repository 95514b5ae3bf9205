// Where the predictions beside the truth come from: the file that the run left, or its checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/sample_set.h"
#include "trainer/evaluate/evaluate.h"

namespace muster::launcher {

struct Predictions {
  std::string source;      // for people: the file, or the checkpoint
  double least_score = 0;  // lower ones were not kept
  // By picture, named as trainer::picture_names does. Pictures that nothing was asked about are
  // absent.
  std::map<std::string, std::vector<trainer::LabelledDetection>> of_picture;
};

// Of a detections.json as trainer::DetectionsFile writes it. Throws DataError.
Predictions read_predictions(const std::filesystem::path& file, double least_score);

// Made now, by the run's best checkpoint, else its newest, of these samples of the set. Scores
// down to a twentieth are kept, or to the run's threshold when that is lower. Throws
// CheckpointError.
Predictions predict_now(const std::filesystem::path& run, const data::SampleSet& set,
                        const std::vector<std::int64_t>& samples);

}  // namespace muster::launcher
