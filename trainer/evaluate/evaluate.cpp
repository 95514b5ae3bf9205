#include "trainer/evaluate/evaluate.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <span>

#include "base/log.h"
#include "base/progress.h"
#include "model/eval_mode.h"
#include "trainer/evaluate/coco_text.h"
#include "trainer/show/metrics.h"

namespace muster::trainer {
namespace {

// What travels between ranks, one per detection.
struct Row {
  std::int64_t image = 0;     // index in the pack
  std::int64_t category = 0;  // original id; -1 when the caption is no class name
  std::array<float, 4> box{};
  float score = 0, padding = 0;
};

// [C] Every rank's rows, in rank order.
std::vector<Row> gather_rows(const std::vector<Row>& mine, sharding::Collective& collective) {
  if (collective.size() == 1) return mine;
  std::vector<std::int64_t> counts(collective.size(), 0);
  counts[collective.rank()] = static_cast<std::int64_t>(mine.size());
  collective.all_reduce_sum(counts);  // [C]
  const auto most = static_cast<std::size_t>(*std::max_element(counts.begin(), counts.end()));
  if (most == 0) return {};
  std::vector<Row> buffer(most * counts.size());
  std::copy(mine.begin(), mine.end(), buffer.begin() + collective.rank() * most);
  collective.all_gather(std::as_writable_bytes(std::span(buffer)));  // [C]
  std::vector<Row> all;
  for (std::size_t r = 0; r < counts.size(); ++r) {
    all.insert(all.end(), buffer.begin() + r * most, buffer.begin() + r * most + counts[r]);
  }
  return all;
}

void log_zero(const CocoGroundTruth& truth, const std::vector<Row>& rows,
              const EvalResult& result) {
  std::map<std::int64_t, std::int64_t> predicted;
  for (const Row& row : rows) ++predicted[row.category];
  log::info("  {}; captions that are no class name: {} of {}; class-agnostic AP50 {}",
            explain_zero(truth, predicted), result.unknown_captions, result.detections,
            measured_text(result.class_agnostic_ap50));
}

std::vector<EvalBox> to_eval_boxes(const std::vector<Row>& rows, const data::Pack& pack) {
  std::vector<EvalBox> boxes;
  boxes.reserve(rows.size());
  for (const Row& row : rows) {
    EvalBox box;
    box.image_id = pack.sample(row.image).source_id;
    box.category_id = row.category;
    box.xywh = {row.box[0], row.box[1], double{row.box[2]} - row.box[0],
                double{row.box[3]} - row.box[1]};
    box.score = row.score;
    boxes.push_back(box);
  }
  return boxes;
}

double class_agnostic_ap50(CocoGroundTruth truth, std::vector<EvalBox> boxes) {
  truth.categories = {{1, "object"}};
  for (EvalBox& box : truth.boxes) box.category_id = 1;
  for (EvalBox& box : boxes) box.category_id = 1;
  return evaluate_coco(truth, boxes).metrics.at("AP50");
}

// The samples that one rank looks at.
struct Share {
  std::int64_t first = 0, end = 0, stride = 1;
};

std::vector<Row> detect_share(model::Detector& detector, const data::Tokenizer& tokenizer,
                              const data::Pack& pack, const data::SampleEncoder& encoder,
                              const EvalOptions& options, const Share& share) {
  const c10::NoGradGuard no_grad;
  const model::EvalMode evaluating(detector);
  Progress progress("evaluating", (share.end - share.first + share.stride - 1) / share.stride);
  std::vector<Row> rows;
  std::vector<std::int64_t> batch;
  const auto run_batch = [&] {
    const auto found = detector.detect(encoder.encode(pack, batch, false));
    for (std::size_t k = 0; k < batch.size(); ++k) {
      for (const LabelledDetection& d : label(found[k], tokenizer, pack.class_map())) {
        rows.push_back({batch[k], d.category_id, d.box, d.score, 0});
      }
    }
    progress.add(static_cast<std::int64_t>(batch.size()));
    batch.clear();
  };
  for (std::int64_t i = share.first; i < share.end; i += share.stride) {
    if (encoder.measure(pack.sample(i)).dropped) continue;  // it counts as nothing found
    batch.push_back(i);
    if (static_cast<std::int64_t>(batch.size()) == options.samples_per_batch) run_batch();
  }
  if (!batch.empty()) run_batch();
  return rows;
}

EvalResult measure(const std::vector<Row>& rows, const CocoGroundTruth& truth,
                   const data::Pack& pack) {
  const std::vector<EvalBox> boxes = to_eval_boxes(rows, pack);
  return {
      .coco = evaluate_coco(truth, boxes),
      .class_agnostic_ap50 = class_agnostic_ap50(truth, boxes),
      .detections = static_cast<std::int64_t>(rows.size()),
      .unknown_captions = std::ranges::count_if(rows, [](const Row& r) { return r.category < 0; }),
      .boxes = boxes};
}

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

CocoGroundTruth ground_truth(const data::Pack& pack, std::int64_t num_samples) {
  CocoGroundTruth truth;
  for (const data::Category& category : pack.categories())
    truth.categories[category.id] = category.name;
  for (std::int64_t i = 0; i < num_samples; ++i) {
    const data::Sample& sample = pack.sample(i);
    truth.image_ids.push_back(sample.source_id);
    for (const data::Object& object : sample.objects) {
      EvalBox box;
      box.image_id = sample.source_id;
      box.category_id = object.category;
      box.xywh = {object.box[0], object.box[1], object.box[2] - object.box[0],
                  object.box[3] - object.box[1]};
      box.area = object.area;
      box.crowd = object.crowd;
      truth.boxes.push_back(box);
    }
  }
  return truth;
}

EvalResult evaluate(model::Detector& detector, const data::Tokenizer& tokenizer,
                    const data::Pack& pack, const data::SampleEncoder& encoder,
                    const EvalOptions& options, sharding::Collective& collective) {
  const std::int64_t n =
      options.max_samples > 0 ? std::min(options.max_samples, pack.size()) : pack.size();
  const Share share{.first = collective.rank(), .end = n, .stride = collective.size()};
  std::vector<Row> rows = detect_share(detector, tokenizer, pack, encoder, options, share);
  rows = gather_rows(rows, collective);  // [C]
  // The ranks' rows interleave differently for every world size; COCO breaks score ties by order.
  std::ranges::stable_sort(rows, {}, &Row::image);
  const CocoGroundTruth truth = ground_truth(pack, n);
  EvalResult result = measure(rows, truth, pack);
  if (result.coco.metrics.at("AP50") == 0 && collective.rank() == 0) {
    log_zero(truth, rows, result);
  }
  return result;
}

}  // namespace muster::trainer
