#include "launcher/look/predictions_of.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/progress.h"
#include "trainer/assembly/opened_checkpoint.h"
#include "trainer/evaluate/predictions.h"

namespace muster::launcher {
namespace {

constexpr double kLeastScore = 0.05;

trainer::LabelledDetection detection_of(const nlohmann::json& entry) {
  trainer::LabelledDetection detection;
  detection.box = entry.at("box").get<std::array<float, 4>>();
  detection.score = entry.at("score").get<float>();
  detection.caption = entry.at("caption").get<std::string>();
  return detection;
}

// Some samples' pictures in one batch.
class BatchPredictor {
 public:
  BatchPredictor(const fs::path& run, const data::SampleSet& set)
      : set_(set),
        opened_(run),
        predictor_(opened_.detector, opened_.tokenizer, opened_.classes, opened_.encoder) {
    if (!opened_.config.detection.enabled)
      throw UsageError(
          fmt::format("{}: it was trained without a detection head, so it has no "
                      "predictions to look at",
                      run.string()));
    result_.source = opened_.folder.string();
    result_.least_score = std::min(kLeastScore, opened_.config.detection.score_threshold);
  }

  Predictions run(const std::vector<std::int64_t>& samples) {
    Progress progress("predicting", static_cast<std::int64_t>(samples.size()));
    for (const std::int64_t sample : samples) {
      add(sample);
      progress.add();
    }
    flush();
    return std::move(result_);
  }

 private:
  void add(std::int64_t index) {
    const data::Sample sample = set_.sample(index);
    if (!sample.has_picture() || opened_.encoder.measure(sample).dropped) return;
    waiting_.push_back(trainer::shown_sample(set_, index));
    if (static_cast<std::int64_t>(waiting_.size()) >= opened_.config.batch.max_samples) flush();
  }

  void flush() {
    if (waiting_.empty()) return;
    for (trainer::ImageDetections& image :
         predictor_.predict(waiting_, {.all = result_.least_score}, scores_))
      result_.of_picture[image.image] = std::move(image.kept);
    waiting_.clear();
  }

  const data::SampleSet& set_;
  trainer::OpenedCheckpoint opened_;
  trainer::Predictor predictor_;
  trainer::ScoreHistogram scores_;
  std::vector<trainer::Shown> waiting_;
  Predictions result_;
};

}  // namespace

Predictions read_predictions(const fs::path& file, double least_score) {
  Predictions predictions{file.string(), least_score, {}};
  try {
    for (const nlohmann::json& image : parse_json(read_text(file))) {
      auto& found = predictions.of_picture[image.at("image").get<std::string>()];
      for (const nlohmann::json& entry : image.at("detections"))
        found.push_back(detection_of(entry));
    }
  } catch (const nlohmann::json::exception& error) {
    throw DataError(
        fmt::format("{}: not as muster writes it: {}", file.string(), json_fault(error)));
  }
  return predictions;
}

Predictions predict_now(const fs::path& run, const data::SampleSet& set,
                        const std::vector<std::int64_t>& samples) {
  return BatchPredictor(run, set).run(samples);
}

}  // namespace muster::launcher
