#include "trainer/evaluate/evaluate.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>
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
  std::int64_t image = 0;     // of EvalImages
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

std::vector<EvalBox> to_eval_boxes(const std::vector<Row>& rows, const EvalImages& images) {
  std::vector<EvalBox> boxes;
  boxes.reserve(rows.size());
  for (const Row& row : rows) {
    EvalBox box;
    box.image_id = images.image_id[static_cast<std::size_t>(row.image)];
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
                              const data::SampleSet& set, const EvalImages& images,
                              const data::SampleEncoder& encoder, const EvalOptions& options,
                              const Share& share) {
  const c10::NoGradGuard no_grad;
  const model::EvalMode evaluating(detector);
  Progress progress("evaluating", (share.end - share.first + share.stride - 1) / share.stride);
  std::vector<Row> rows;
  std::vector<std::int64_t> batch;
  const auto run_batch = [&] {
    const auto found = detector.detect(encoder.encode(set, batch, false));
    std::size_t k = 0;
    for (const std::int64_t sample : batch) {
      for (std::int64_t image = images.first[sample]; image < images.first[sample + 1]; ++image)
        for (const LabelledDetection& d : label(found[k++], tokenizer, set.class_map()))
          rows.push_back({image, d.category_id, d.box, d.score, 0});
    }
    progress.add(static_cast<std::int64_t>(batch.size()));
    batch.clear();
  };
  for (std::int64_t i = share.first; i < share.end; i += share.stride) {
    if (images.first[i] == images.first[i + 1]) continue;  // nobody annotated it
    if (encoder.measure(set.sample(i)).dropped) continue;  // it counts as nothing found
    batch.push_back(i);
    if (static_cast<std::int64_t>(batch.size()) == options.samples_per_batch) run_batch();
  }
  if (!batch.empty()) run_batch();
  return rows;
}

EvalResult measure(const std::vector<Row>& rows, const CocoGroundTruth& truth,
                   const EvalImages& images) {
  const std::vector<EvalBox> boxes = to_eval_boxes(rows, images);
  return {
      .coco = evaluate_coco(truth, boxes),
      .class_agnostic_ap50 = class_agnostic_ap50(truth, boxes),
      .detections = static_cast<std::int64_t>(rows.size()),
      .unknown_captions = std::ranges::count_if(rows, [](const Row& r) { return r.category < 0; })};
}

void add_truth(const data::Sample& sample, std::span<const std::int64_t> image_ids,
               CocoGroundTruth& truth) {
  truth.image_ids.insert(truth.image_ids.end(), image_ids.begin(), image_ids.end());
  for (const data::Object& object : sample.objects) {
    EvalBox box;
    box.image_id = image_ids[static_cast<std::size_t>(object.picture)];
    box.category_id = object.category;
    box.xywh = {object.box[0], object.box[1], object.box[2] - object.box[0],
                object.box[3] - object.box[1]};
    box.area = object.area;
    box.crowd = object.crowd;
    truth.boxes.push_back(box);
  }
}

// One pack keeps the classes that have no object, too: metrics list them.
std::vector<data::Category> categories_of(const data::SampleSet& set) {
  if (set.packs().size() == 1) return set.packs().front()->categories();
  std::vector<data::Category> all;
  for (std::int64_t k = 0; k < set.class_map().size(); ++k)
    all.push_back(set.class_map().category(k));
  return all;
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

// Ids are places in the order of the source's ids: COCO breaks score ties by the order of ids, and
// a source's id may stand at several samples.
EvalImages eval_images(const data::SampleSet& set, std::int64_t num_samples) {
  EvalImages images{.first = {0}, .image_id = {}};
  std::vector<std::int64_t> source_id;  // per image
  for (std::int64_t i = 0; i < num_samples; ++i) {
    const data::Sample sample = set.sample(i);
    const std::size_t pictures = sample.boxed ? sample.pictures.size() : 0;
    source_id.insert(source_id.end(), pictures, sample.source_id);
    images.first.push_back(static_cast<std::int64_t>(source_id.size()));
  }
  std::vector<std::size_t> order(source_id.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t image) { return source_id[image]; });
  images.image_id.resize(order.size());
  for (std::size_t place = 0; place < order.size(); ++place)
    images.image_id[order[place]] = static_cast<std::int64_t>(place);
  return images;
}

CocoGroundTruth ground_truth(const data::SampleSet& set, const EvalImages& images) {
  CocoGroundTruth truth;
  for (const data::Category& category : categories_of(set))
    truth.categories[category.id] = category.name;
  for (std::size_t i = 0; i + 1 < images.first.size(); ++i) {
    const auto begin = static_cast<std::size_t>(images.first[i]);
    const auto count = static_cast<std::size_t>(images.first[i + 1]) - begin;
    if (count > 0)
      add_truth(set.sample(static_cast<std::int64_t>(i)),
                std::span(images.image_id).subspan(begin, count), truth);
  }
  return truth;
}

EvalResult evaluate(model::Detector& detector, const data::Tokenizer& tokenizer,
                    const data::SampleSet& set, const data::SampleEncoder& encoder,
                    const EvalOptions& options, sharding::Collective& collective) {
  const std::int64_t n =
      options.max_samples > 0 ? std::min(options.max_samples, set.size()) : set.size();
  const EvalImages images = eval_images(set, n);
  const Share share{.first = collective.rank(), .end = n, .stride = collective.size()};
  std::vector<Row> rows = detect_share(detector, tokenizer, set, images, encoder, options, share);
  rows = gather_rows(rows, collective);  // [C]
  // The ranks' rows interleave differently for every world size; COCO breaks score ties by order.
  std::ranges::stable_sort(rows, {}, &Row::image);
  const CocoGroundTruth truth = ground_truth(set, images);
  EvalResult result = measure(rows, truth, images);
  if (result.coco.metrics.at("AP50") == 0 && collective.rank() == 0) {
    log_zero(truth, rows, result);
  }
  return result;
}

}  // namespace muster::trainer
