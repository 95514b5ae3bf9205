#include "trainer/evaluate/evaluate.h"

#include <c10/core/GradMode.h>
#include <fmt/core.h>

#include <algorithm>
#include <iterator>
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

// The samples that one rank looks at: places in EvalImages::sample.
struct Share {
  std::size_t first = 0, stride = 1;
};

std::vector<Row> detect_share(model::Detector& detector, const data::Tokenizer& tokenizer,
                              const data::SampleSet& set, const EvalImages& images,
                              const data::SampleEncoder& encoder, const EvalOptions& options,
                              const Share& share) {
  const c10::NoGradGuard no_grad;
  const model::EvalMode evaluating(detector);
  const std::size_t end = images.sample.size();
  Progress progress("evaluating", static_cast<std::int64_t>((end + share.stride - 1 - share.first) /
                                                            share.stride));
  std::vector<Row> rows;
  std::vector<std::size_t> places;
  std::vector<std::int64_t> batch;  // the samples at those places
  const auto run_batch = [&] {
    const auto found = detector.detect(encoder.encode(set, batch, false));
    std::size_t next = 0;
    for (const std::size_t k : places)
      for (std::int64_t image = images.first[k]; image < images.first[k + 1]; ++image)
        for (const LabelledDetection& d : label(found[next++], tokenizer, set.class_map()))
          rows.push_back({image, d.category_id, d.box, d.score, 0});
    progress.add(static_cast<std::int64_t>(batch.size()));
    batch.clear();
    places.clear();
  };
  for (std::size_t k = share.first; k < end; k += share.stride) {
    const std::int64_t sample = images.sample[k];
    if (encoder.measure(set.sample(sample)).dropped) continue;  // it counts as nothing found
    batch.push_back(sample);
    places.push_back(k);
    if (static_cast<std::int64_t>(batch.size()) == options.samples_per_batch) run_batch();
  }
  if (!batch.empty()) run_batch();
  return rows;
}

// For those who have the source: its ids instead of ours.
std::vector<EvalBox> with_source_ids(std::vector<EvalBox> boxes, const std::vector<Row>& rows,
                                     const EvalImages& images) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    boxes[i].image_id = images.source_id[static_cast<std::size_t>(rows[i].image)];
  return boxes;
}

EvalResult measure(const std::vector<Row>& rows, const CocoGroundTruth& truth,
                   const EvalImages& images) {
  const std::vector<EvalBox> boxes = to_eval_boxes(rows, images);
  return {
      .coco = evaluate_coco(truth, boxes),
      .class_agnostic_ap50 = class_agnostic_ap50(truth, boxes),
      .detections = static_cast<std::int64_t>(rows.size()),
      .unknown_captions = std::ranges::count_if(rows, [](const Row& r) { return r.category < 0; }),
      .boxes = with_source_ids(boxes, rows, images),
      .packs = {}};
}

// The stems of the packs' files, made different by a number.
std::vector<std::string> pack_names(const data::SampleSet& set) {
  std::vector<std::string> names;
  for (const auto& pack : set.packs()) {
    const std::string stem = pack->path().stem().string();
    std::string name = stem;
    for (int i = 2; std::ranges::find(names, name) != names.end(); ++i)
      name = fmt::format("{}-{}", stem, i);
    names.push_back(std::move(name));
  }
  return names;
}

// The pack that each image is of, by the image's id.
std::vector<std::size_t> packs_by_id(const data::SampleSet& set, const EvalImages& images) {
  std::vector<std::size_t> pack(images.image_id.size());
  for (std::size_t k = 0; k < images.sample.size(); ++k)
    for (std::int64_t image = images.first[k]; image < images.first[k + 1]; ++image)
      pack[static_cast<std::size_t>(images.image_id[static_cast<std::size_t>(image)])] =
          set.locate(images.sample[k]).first;
  return pack;
}

std::vector<PackResult> measure_packs(const std::vector<Row>& rows, const CocoGroundTruth& truth,
                                      const data::SampleSet& set, const EvalImages& images) {
  if (set.packs().size() == 1) return {};
  const std::vector<std::size_t> pack_of = packs_by_id(set, images);
  const std::vector<EvalBox> boxes = to_eval_boxes(rows, images);
  const std::vector<std::string> names = pack_names(set);
  std::vector<PackResult> results;
  for (std::size_t pack = 0; pack < names.size(); ++pack) {
    const auto in_pack = [&](std::int64_t id) {
      return pack_of[static_cast<std::size_t>(id)] == pack;
    };
    const auto box_in_pack = [&](const EvalBox& box) { return in_pack(box.image_id); };
    CocoGroundTruth own;
    own.categories = truth.categories;
    std::ranges::copy_if(truth.image_ids, std::back_inserter(own.image_ids), in_pack);
    std::ranges::copy_if(truth.boxes, std::back_inserter(own.boxes), box_in_pack);
    std::vector<EvalBox> found;
    std::ranges::copy_if(boxes, std::back_inserter(found), box_in_pack);
    results.push_back({names[pack], evaluate_coco(own, found)});
  }
  return results;
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
EvalImages eval_images(const data::SampleSet& set, std::int64_t max_samples) {
  EvalImages images{.sample = {}, .first = {0}, .source_id = {}, .image_id = {}};
  std::vector<std::int64_t>& source_id = images.source_id;
  for (std::int64_t i = 0; i < set.size(); ++i) {
    if (max_samples > 0 && set.locate(i).second >= max_samples) continue;
    const data::Sample sample = set.sample(i);
    if (!sample.boxed || !sample.has_picture()) continue;
    images.sample.push_back(i);
    source_id.insert(source_id.end(), sample.pictures.size(), sample.source_id);
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
  for (std::size_t k = 0; k < images.sample.size(); ++k) {
    const auto begin = static_cast<std::size_t>(images.first[k]);
    const auto count = static_cast<std::size_t>(images.first[k + 1]) - begin;
    add_truth(set.sample(images.sample[k]), std::span(images.image_id).subspan(begin, count),
              truth);
  }
  return truth;
}

EvalResult evaluate(model::Detector& detector, const data::Tokenizer& tokenizer,
                    const data::SampleSet& set, const data::SampleEncoder& encoder,
                    const EvalOptions& options, sharding::Collective& collective) {
  const EvalImages images = eval_images(set, options.max_samples);
  const Share share{.first = static_cast<std::size_t>(collective.rank()),
                    .stride = static_cast<std::size_t>(collective.size())};
  std::vector<Row> rows = detect_share(detector, tokenizer, set, images, encoder, options, share);
  rows = gather_rows(rows, collective);  // [C]
  // The ranks' rows interleave differently for every world size; COCO breaks score ties by order.
  std::ranges::stable_sort(rows, {}, &Row::image);
  const CocoGroundTruth truth = ground_truth(set, images);
  EvalResult result = measure(rows, truth, images);
  result.packs = measure_packs(rows, truth, set, images);
  if (result.coco.metrics.at("AP50") == 0 && collective.rank() == 0) {
    log_zero(truth, rows, result);
  }
  return result;
}

}  // namespace muster::trainer
