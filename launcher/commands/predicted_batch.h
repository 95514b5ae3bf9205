// What one rank of `predict` found in a group of samples, on its way to the rank that writes it
// down.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/evaluate/prediction_formats.h"
#include "trainer/evaluate/predictions.h"

namespace muster::launcher {

struct PredictedBatch {
  std::vector<trainer::ImageDetections> images;
  std::vector<std::string> bad;     // samples that could not be asked, and why
  std::vector<std::string> turned;  // pictures that EXIF would turn, and that were not
};

// There and back bit by bit.
std::string batch_to_bytes(const PredictedBatch& batch);
PredictedBatch batch_from_bytes(std::string_view bytes);

// detections.json and the form that was asked for beside it, whole after commit().
class PredictionFiles {
 public:
  PredictionFiles(const std::filesystem::path& folder, std::string_view format,
                  const data::ClassMap& classes);
  void add(const std::vector<trainer::ImageDetections>& images);
  void commit();

 private:
  trainer::DetectionsFile file_;
  std::unique_ptr<trainer::PredictionWriter> other_;
};

}  // namespace muster::launcher
