#include "trainer/evaluate/evaluate.h"

#include <c10/core/GradMode.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <future>

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

// One rank's part of an evaluation: every size()-th batch of the list.
class Share {
 public:
  Share(model::Detector& detector, const data::Tokenizer& tokenizer, const data::SampleSet& set,
        const data::SampleEncoder& encoder, const EvalImages& images)
      : detector_(detector), tokenizer_(tokenizer), set_(set), encoder_(encoder), images_(images) {}

  void run(const EvalOptions& options, const sharding::Collective& collective) {
    const c10::NoGradGuard no_grad;
    const model::EvalMode evaluating(detector_);
    const auto per_batch = static_cast<std::size_t>(options.samples_per_batch);
    const std::size_t stride = per_batch * static_cast<std::size_t>(collective.size());
    const std::size_t end = images_.sample.size();
    const std::size_t first = per_batch * static_cast<std::size_t>(collective.rank());
    Progress progress("evaluating",
                      static_cast<std::int64_t>(end / static_cast<std::size_t>(collective.size())));
    // The next batch is decoded while one is in the model.
    std::future<Batch> next = load(first, per_batch);
    for (std::size_t k = first; k < end; k += stride) {
      const Batch batch = next.get();
      next = load(k + stride, per_batch);
      detect(batch);
      progress.add(static_cast<std::int64_t>(std::min(per_batch, end - k)));
    }
  }

  std::vector<FoundBox> found;
  CaptionCount captions;
  double model_seconds = 0;

 private:
  struct Batch {
    std::vector<std::size_t> places;  // of EvalImages::sample; over budget: it counts as empty
    MicroBatch inputs;
  };

  std::future<Batch> load(std::size_t first, std::size_t count) const {
    return std::async(std::launch::async, [this, first, count] {
      Batch batch;
      std::vector<std::int64_t> samples;
      for (std::size_t k = first; k < std::min(first + count, images_.sample.size()); ++k) {
        if (encoder_.measure(set_.sample(images_.sample[k])).dropped) continue;
        batch.places.push_back(k);
        samples.push_back(images_.sample[k]);
      }
      if (!samples.empty()) batch.inputs = encoder_.encode(set_, samples, false);
      return batch;
    });
  }

  void detect(const Batch& batch) {
    if (batch.places.empty()) return;
    const Clock::time_point start = Clock::now();
    const auto detections = detector_.detect(batch.inputs);
    model_seconds += seconds_since(start);
    std::size_t next = 0;
    for (const std::size_t k : batch.places) {
      const data::Sample sample = set_.sample(images_.sample[k]);
      for (std::int64_t image = images_.first[k]; image < images_.first[k + 1]; ++image) {
        const auto labelled = label(detections[next++], tokenizer_, set_.class_map());
        captions.add(sample, image - images_.first[k], labelled);
        for (const LabelledDetection& d : labelled)
          found.push_back({image, d.category_id, d.box, d.score, 0});
      }
    }
  }

  model::Detector& detector_;
  const data::Tokenizer& tokenizer_;
  const data::SampleSet& set_;
  const data::SampleEncoder& encoder_;
  const EvalImages& images_;
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
                    const EvalOptions& options, sharding::Collective& collective) {
  const Clock::time_point start = Clock::now();
  const EvalImages images = eval_images(set, options.max_samples);
  Share share(detector, tokenizer, set, encoder, images);
  share.run(options, collective);
  const double own_seconds = seconds_since(start);
  const std::vector<FoundBox> found = gather_found(share.found, collective);  // [C]
  std::vector<std::int64_t> counts{share.captions.exact, share.captions.compared};
  sum_over_ranks(counts, collective);  // [C]
  const CocoGroundTruth truth = ground_truth(set, images);
  EvalResult result{measure_boxes(found, truth, set, images)};
  if (counts[1] > 0)
    result.caption_exact = static_cast<double>(counts[0]) / static_cast<double>(counts[1]);
  result.seconds = own_seconds;
  result.model_seconds = share.model_seconds;
  if (result.coco.metrics.at("AP50") == 0 && collective.rank() == 0) log_zero(truth, found, result);
  return result;
}

}  // namespace muster::trainer
