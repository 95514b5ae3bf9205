// Detections for people and programs: detections.json and one overlay PNG per image, for any number
// of images in flat memory.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/process/atomic_file.h"
#include "data/encoder.h"
#include "data/images/image.h"
#include "data/sample_set.h"
#include "model/detector.h"
#include "sharding/collectives/collective.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/passes.h"
#include "trainer/show/overlay.h"
#include "trainer/show/tensorboard.h"

namespace muster::trainer {

// Puts data::kPictureMark where the text has <image> (with the line break after it).
std::string mark_pictures(std::string text);

// A sample that is asked about, with its pictures decoded and of the sizes it says.
struct Shown {
  data::Sample sample;
  std::vector<data::Image> pictures;
  std::vector<std::string> names;  // per picture: goes into detections.json
};
// The first picture has the sample's name, the k-th NAME-k.
std::vector<std::string> picture_names(const data::Sample& sample);
// Sample i of a set, as it asks itself, with those names.
Shown shown_sample(const data::SampleSet& set, std::int64_t i);
// One picture with a question; "": the config's.
Shown shown_picture(std::string name, data::Image image, const std::string& prompt);

struct ImageDetections {
  std::string image;
  std::int64_t width = 0, height = 0;
  std::vector<LabelledDetection> kept = {};  // at or above the threshold, best first
  std::string overlay = {};                  // file name of the PNG; empty when none was drawn
  std::string prompt = {};                   // the sample's own last question; empty: the config's
};

// What a detection must reach to be kept.
struct Thresholds {
  double all = 0;
  std::map<std::int64_t, double> of_category = {};  // instead of `all`, by original id
  double of(std::int64_t category) const;
};
// Where F1 was best when the checkpoint was evaluated: over all classes, and with `per_class` of
// each. Throws CheckpointError when it holds no evaluation that found something.
Thresholds best_thresholds(const std::filesystem::path& checkpoint, const data::ClassMap& classes,
                           bool per_class);

// The scores of all queries of all images, kept as counts: 50 bins per factor of ten down to 1e-8.
class ScoreHistogram {
 public:
  void add(double score);
  void add(const ScoreHistogram& more);
  // [C] Those of all ranks together.
  void join(sharding::Collective& collective);
  std::int64_t count() const { return count_; }
  double best() const { return best_; }
  // The score that `share` of the queries reach, from the top, to 5 %.
  double reached_by(double share) const;

 private:
  static constexpr std::size_t kPerDecade = 50, kDecades = 8;
  std::array<std::int64_t, kPerDecade * kDecades + 1> bins_{};  // from score 1 downwards
  std::int64_t count_ = 0;
  double best_ = 0;
};

// A detector with what turns its numbers into names. Refers to what it is given.
class Predictor {
 public:
  Predictor(const model::Detector& detector, const data::Tokenizer& tokenizer,
            const data::ClassMap& classes, const data::SampleEncoder& encoder)
      : detector_(detector), tokenizer_(tokenizer), classes_(classes), encoder_(encoder) {}

  // All samples in one batch; one entry per picture, in order. REQUIRES the detector in evaluation
  // mode and a picture in at least one sample.
  std::vector<ImageDetections> predict(std::span<const Shown> samples, const Thresholds& thresholds,
                                       ScoreHistogram& scores) const;
  // The same on a thread of `passes`: encodes, waits for a place in the model, reads what came out.
  std::vector<ImageDetections> predict(std::span<const Shown> samples, const Thresholds& thresholds,
                                       ScoreHistogram& scores, Passes& passes) const;
  c10::Device device() const { return detector_.backbone().token_embedding().device(); }

 private:
  using Found = std::vector<std::vector<model::Detection>>;  // per picture

  MicroBatch inputs_of(std::span<const Shown> samples) const;
  std::vector<ImageDetections> read(std::span<const Shown> samples, const Found& found,
                                    const Thresholds& thresholds, ScoreHistogram& scores) const;

  const model::Detector& detector_;
  const data::Tokenizer& tokenizer_;
  const data::ClassMap& classes_;
  const data::SampleEncoder& encoder_;
};

// As a program of ours reads them again, bit by bit.
std::string detections_to_bytes(const std::vector<ImageDetections>& images);
std::vector<ImageDetections> detections_from_bytes(std::string_view bytes);
// One entry of detections.json.
nlohmann::json detections_entry(const ImageDetections& image);

// [{"image", "width", "height", "overlay", "prompt", "detections": [{"box": [x1, y1, x2, y2],
// "score", "caption", "category_id"}]}], boxes in stored pixels; written image by image, whole
// after commit() and absent without. Throws IoError.
class DetectionsFile {
 public:
  explicit DetectionsFile(const std::filesystem::path& path);
  void add(const ImageDetections& image);
  void commit();

 private:
  AtomicFile file_;
  bool any_ = false;
};

// The picture, enlarged a whole number of times when it is small, with its boxes and labels.
void draw(const data::Image& image, const ImageDetections& found, const std::filesystem::path& png,
          LabelFont& font);
// The same in memory.
PngPicture drawn(const data::Image& image, const ImageDetections& found, LabelFont& font);

// The score distribution and the threshold that would have kept some: what to say when nothing
// passes (diary row L-106).
std::string explain_scores(const ScoreHistogram& scores, double threshold);

}  // namespace muster::trainer
