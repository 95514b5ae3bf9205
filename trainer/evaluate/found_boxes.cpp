#include "trainer/evaluate/found_boxes.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "sharding/collectives/texts.h"
#include "trainer/evaluate/confusion.h"

namespace muster::trainer {
namespace {

std::vector<EvalBox> to_eval_boxes(const std::vector<FoundBox>& found, const EvalImages& images) {
  std::vector<EvalBox> boxes;
  boxes.reserve(found.size());
  for (const FoundBox& one : found) {
    EvalBox box;
    box.image_id = images.image_id[static_cast<std::size_t>(one.image)];
    box.category_id = one.category;
    box.xywh = {one.box[0], one.box[1], double{one.box[2]} - one.box[0],
                double{one.box[3]} - one.box[1]};
    box.score = one.score;
    boxes.push_back(box);
  }
  return boxes;
}

// For those who have the source: its ids instead of ours.
std::vector<EvalBox> with_source_ids(std::vector<EvalBox> boxes, const std::vector<FoundBox>& found,
                                     const EvalImages& images) {
  for (std::size_t i = 0; i < found.size(); ++i)
    boxes[i].image_id = images.source_id[static_cast<std::size_t>(found[i].image)];
  return boxes;
}

std::vector<PackResult> measure_packs(const std::vector<EvalBox>& boxes,
                                      const CocoGroundTruth& truth, const data::SampleSet& set,
                                      const EvalImages& images) {
  if (set.packs().size() == 1) return {};
  const std::vector<std::size_t> pack_of = packs_by_id(set, images);
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

std::vector<std::int64_t> errors_by_sample(const std::vector<EvalBox>& boxes,
                                           const CocoGroundTruth& truth, const EvalImages& images,
                                           double threshold) {
  auto by_image = errors_by_image(truth, boxes, threshold);
  std::vector<std::int64_t> errors;
  for (std::size_t k = 0; k < images.sample.size(); ++k) {
    std::int64_t& of_sample = errors.emplace_back(0);
    for (std::int64_t image = images.first[k]; image < images.first[k + 1]; ++image)
      of_sample += by_image[images.image_id[static_cast<std::size_t>(image)]];
  }
  return errors;
}

}  // namespace

double class_agnostic_ap50(CocoGroundTruth truth, std::vector<EvalBox> boxes) {
  truth.categories = {{1, "object"}};
  for (EvalBox& box : truth.boxes) box.category_id = 1;
  for (EvalBox& box : boxes) box.category_id = 1;
  return evaluate_coco(truth, boxes).metrics.at("AP50");
}

std::vector<FoundBox> gather_found(const std::vector<FoundBox>& mine,
                                   sharding::Collective& collective) {
  std::string bytes(mine.size() * sizeof(FoundBox), '\0');
  if (!mine.empty()) std::memcpy(bytes.data(), mine.data(), bytes.size());
  std::vector<FoundBox> all;
  for (const std::string& text : sharding::gather_texts(collective, bytes)) {  // [C]
    if (text.empty()) continue;
    const std::size_t begin = all.size();
    all.resize(begin + text.size() / sizeof(FoundBox));
    std::memcpy(all.data() + begin, text.data(), text.size());
  }
  std::ranges::stable_sort(all, {}, &FoundBox::image);
  return all;
}

void sum_over_ranks(std::vector<std::int64_t>& counts, sharding::Collective& collective) {
  if (collective.size() > 1) collective.all_reduce_sum(counts);  // [C]
}

void join_over_ranks(std::vector<double>& mine, sharding::Collective& collective) {
  // Where all ranks but one have a zero the sum of the bits is that one's number.
  std::vector<std::int64_t> bits;
  for (const double value : mine) bits.push_back(std::bit_cast<std::int64_t>(value));
  sum_over_ranks(bits, collective);  // [C]
  for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = std::bit_cast<double>(bits[i]);
}

BoxResult measure_boxes(const std::vector<FoundBox>& found, const CocoGroundTruth& truth,
                        const data::SampleSet& set, const EvalImages& images) {
  const std::vector<EvalBox> boxes = to_eval_boxes(found, images);
  BoxResult result{
      .coco = evaluate_coco(truth, boxes),
      .class_agnostic_ap50 = class_agnostic_ap50(truth, boxes),
      .detections = static_cast<std::int64_t>(found.size()),
      .unknown_captions = std::ranges::count_if(found, [](auto& one) { return one.category < 0; }),
      .boxes = with_source_ids(boxes, found, images),
      .packs = measure_packs(boxes, truth, set, images),
      .curves = operating_curves(truth, boxes)};
  const double threshold = result.curves.all.best().threshold;
  result.confusion = confusion_matrix(truth, boxes, threshold);
  result.errors = errors_by_sample(boxes, truth, images, threshold);
  return result;
}

}  // namespace muster::trainer
