#include "trainer/evaluate/evaluate.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/progress.h"
#include "model/eval_mode.h"
#include "trainer/evaluate/coco_cells.h"
#include "trainer/evaluate/coco_text.h"
#include "trainer/show/metrics.h"

namespace muster::trainer {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void log_zero(const CocoGroundTruth& truth, const std::vector<FoundBox>& found,
              const BoxResult& result) {
  std::map<std::int64_t, std::int64_t> predicted;
  for (const FoundBox& box : found) ++predicted[box.category];
  log::info("  {}; captions that are no class name: {} of {}; class-agnostic AP50 {}",
            explain_zero(truth, predicted), result.unknown_captions, result.detections,
            measured_text(result.class_agnostic_ap50));
}

EvalBox as_eval_box(const std::array<double, 4>& box) {
  return {.xywh = {box[0], box[1], box[2] - box[0], box[3] - box[1]}};
}

// How often the detection nearest to a true box says what that box is called.
struct CaptionCount {
  std::int64_t exact = 0, compared = 0;

  void add(const data::Sample& sample, std::int64_t picture,
           const std::vector<LabelledDetection>& found) {
    for (const data::Object& object : sample.objects) {
      if (object.picture != picture || object.crowd) continue;
      const LabelledDetection* nearest = nearest_to(object, found);
      if (nearest == nullptr) continue;
      ++compared;
      exact += nearest->caption == object.caption ? 1 : 0;
    }
  }

 private:
  static const LabelledDetection* nearest_to(const data::Object& object,
                                             const std::vector<LabelledDetection>& found) {
    const EvalBox truth = as_eval_box(object.box);
    const LabelledDetection* nearest = nullptr;
    double most = 0.5;
    for (const LabelledDetection& d : found) {
      const double common = overlap(as_eval_box({d.box[0], d.box[1], d.box[2], d.box[3]}), truth);
      if (common < most || (nearest != nullptr && common == most)) continue;
      most = common;
      nearest = &d;
    }
    return nearest;
  }
};

// What a batch gave, or several.
struct Detected {
  std::vector<FoundBox> boxes;
  CaptionCount captions;
  double model_seconds = 0;

  void append(const Detected& more) {
    boxes.insert(boxes.end(), more.boxes.begin(), more.boxes.end());
    captions.exact += more.captions.exact;
    captions.compared += more.captions.compared;
    model_seconds += more.model_seconds;
  }
};

// One rank's part of an evaluation.
class Share {
 public:
  // REQUIRES the detector in evaluation mode.
  Share(const model::Detector& detector, const data::Tokenizer& tokenizer,
        const data::SampleSet& set, const data::SampleEncoder& encoder, const EvalBatches& batches)
      : detector_(detector), tokenizer_(tokenizer), set_(set), encoder_(encoder), plan_(batches) {}

  Detected run(const PassThreads& threads, const sharding::Collective& collective) const {
    const RankShare own(plan_.boxes.size(), collective);
    Passes passes(threads, detector_.backbone().token_embedding().device());
    Progress progress("evaluating", samples_of(own));
    Detected all;
    passes.run(
        own.count(), [&](std::int64_t i) { return detect(plan_.boxes[own[i]], passes); },
        [&](std::int64_t i, const Detected& found) {
          all.append(found);
          progress.add(static_cast<std::int64_t>(plan_.boxes[own[i]].size()));
        });
    return all;
  }

 private:
  std::int64_t samples_of(const RankShare& own) const {
    std::int64_t samples = 0;
    for (std::int64_t i = 0; i < own.count(); ++i)
      samples += static_cast<std::int64_t>(plan_.boxes[own[i]].size());
    return samples;
  }

  Detected detect(const std::vector<std::int64_t>& samples, Passes& passes) const {
    const MicroBatch inputs = encoder_.encode(set_, samples, false);
    Detected found;
    const auto detections = passes.in_model([&] {
      const Clock::time_point start = Clock::now();
      auto made = detector_.detect(inputs);
      found.model_seconds = seconds_since(start);
      return made;
    });
    std::size_t next = 0;
    for (const std::int64_t index : samples) {
      const data::Sample sample = set_.sample(index);
      const std::int64_t first = plan_.images.first_image(index);
      for (std::size_t k = 0; k < sample.pictures.size(); ++k)
        add(detections[next++], sample, first, static_cast<std::int64_t>(k), found);
    }
    return found;
  }

  // Of the k-th picture of a sample whose first one is the image `first`.
  void add(const std::vector<model::Detection>& detections, const data::Sample& sample,
           std::int64_t first, std::int64_t k, Detected& found) const {
    const auto labelled = label(detections, tokenizer_, set_.class_map());
    found.captions.add(sample, k, labelled);
    for (const LabelledDetection& d : labelled)
      found.boxes.push_back({first + k, d.category_id, d.box, d.score, 0});
  }

  const model::Detector& detector_;
  const data::Tokenizer& tokenizer_;
  const data::SampleSet& set_;
  const data::SampleEncoder& encoder_;
  const EvalBatches& plan_;
};

}  // namespace

std::vector<LabelledDetection> label(const std::vector<model::Detection>& detections,
                                     const data::Tokenizer& tokenizer,
                                     const data::ClassMap& classes) {
  std::vector<LabelledDetection> labelled;
  labelled.reserve(detections.size());
  for (const model::Detection& d : detections) {
    LabelledDetection one{d.box, d.score, tokenizer.decode(d.caption), -1};
    if (const std::int64_t index = classes.find_name(one.caption); index >= 0)
      one.category_id = classes.category(index).id;
    labelled.push_back(std::move(one));
  }
  return labelled;
}

EvalResult evaluate(model::Detector& detector, const data::Tokenizer& tokenizer,
                    const data::SampleSet& set, const data::SampleEncoder& encoder,
                    const EvalBatches& batches, const PassThreads& threads,
                    sharding::Collective& collective) {
  const Clock::time_point start = Clock::now();
  const model::EvalMode evaluating(detector);
  const Detected mine = Share(detector, tokenizer, set, encoder, batches).run(threads, collective);
  const double own_seconds = seconds_since(start);
  const std::vector<FoundBox> found = gather_found(mine.boxes, collective);  // [C]
  std::vector<std::int64_t> counts{mine.captions.exact, mine.captions.compared};
  sum_over_ranks(counts, collective);  // [C]
  const CocoGroundTruth truth = ground_truth(set, batches.images);
  EvalResult result{measure_boxes(found, truth, set, batches.images)};
  if (counts[1] > 0)
    result.caption_exact = static_cast<double>(counts[0]) / static_cast<double>(counts[1]);
  result.seconds = own_seconds;
  result.model_seconds = mine.model_seconds / threads.model;
  if (result.coco.metrics.at("AP50") == 0 && collective.rank() == 0) log_zero(truth, found, result);
  return result;
}

}  // namespace muster::trainer
