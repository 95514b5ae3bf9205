#include "trainer/evaluate/confusion.h"

#include <algorithm>
#include <functional>
#include <map>

#include "trainer/evaluate/coco_cells.h"
#include "trainer/evaluate/judgement.h"

namespace muster::trainer {
namespace {

struct Image {
  std::vector<EvalBox> detections, truths, crowds;
};

struct Pair {
  double overlap = 0;
  std::size_t detection = 0, truth = 0;
};

std::map<std::int64_t, Image> by_image(const CocoGroundTruth& truth,
                                       const std::vector<EvalBox>& detections, double threshold) {
  std::map<std::int64_t, Image> images;
  for (const EvalBox& box : truth.boxes) {
    Image& image = images[box.image_id];
    (box.crowd ? image.crowds : image.truths).push_back(box);
  }
  for (const EvalBox& box : detections)
    if (box.score >= threshold) images[box.image_id].detections.push_back(box);
  return images;
}

std::vector<Pair> pairs_of(const Image& image) {
  std::vector<Pair> pairs;
  for (std::size_t d = 0; d < image.detections.size(); ++d)
    for (std::size_t t = 0; t < image.truths.size(); ++t)
      if (const double common = overlap(image.detections[d], image.truths[t]);
          common >= kLeastOverlap)
        pairs.push_back({common, d, t});
  std::ranges::stable_sort(pairs, std::greater{}, &Pair::overlap);
  return pairs;
}

bool in_crowd(const Image& image, const EvalBox& detection) {
  return std::ranges::any_of(image.crowds, [&](const EvalBox& crowd) {
    return overlap(detection, crowd) >= kLeastOverlap;
  });
}

// Calls `take` once for each true box and each detection: with both where they are a pair, else
// with a null for what is missing.
template <typename Take>
void each_pair(const Image& image, const Take& take) {
  std::vector<char> found(image.truths.size(), 0);
  std::vector<char> used(image.detections.size(), 0);
  for (const Pair& pair : pairs_of(image)) {
    if (found[pair.truth] != 0 || used[pair.detection] != 0) continue;
    found[pair.truth] = 1;
    used[pair.detection] = 1;
    take(&image.truths[pair.truth], &image.detections[pair.detection]);
  }
  for (std::size_t t = 0; t < found.size(); ++t)
    if (found[t] == 0) take(&image.truths[t], static_cast<const EvalBox*>(nullptr));
  for (std::size_t d = 0; d < used.size(); ++d)
    if (used[d] == 0 && !in_crowd(image, image.detections[d]))
      take(static_cast<const EvalBox*>(nullptr), &image.detections[d]);
}

class ConfusionCounter {
 public:
  ConfusionCounter(const CocoGroundTruth& truth, const std::vector<EvalBox>& detections,
                   double threshold) {
    confusion_.threshold = threshold;
    confusion_.iou = kLeastOverlap;
    for (const auto& [id, name] : truth.categories) {
      place_[id] = confusion_.names.size();
      confusion_.names.push_back(name);
    }
    no_class_ = confusion_.names.size();
    const auto named = [&](const EvalBox& box) { return place_.contains(box.category_id); };
    if (!std::ranges::all_of(detections, named)) confusion_.names.emplace_back("no class");
    confusion_.names.emplace_back("background");
    confusion_.counts.resize(confusion_.size() * confusion_.size());
  }

  void add(const Image& image) {
    each_pair(image, [&](const EvalBox* truth, const EvalBox* detection) {
      ++confusion_.counts[row(truth) * confusion_.size() + row(detection)];
    });
  }

  Confusion take() { return std::move(confusion_); }

 private:
  std::size_t row(const EvalBox* box) const {
    if (box == nullptr) return confusion_.size() - 1;  // the background
    const auto found = place_.find(box->category_id);
    return found == place_.end() ? no_class_ : found->second;
  }

  Confusion confusion_;
  std::map<std::int64_t, std::size_t> place_;
  std::size_t no_class_ = 0;
};

}  // namespace

Confusion confusion_matrix(const CocoGroundTruth& truth, const std::vector<EvalBox>& detections,
                           double threshold) {
  if (truth.categories.size() + 2 > kMostConfusionNames) return {.threshold = threshold};
  ConfusionCounter counter(truth, detections, threshold);
  for (const auto& [id, image] : by_image(truth, detections, threshold)) counter.add(image);
  return counter.take();
}

std::map<std::int64_t, std::int64_t> errors_by_image(const CocoGroundTruth& truth,
                                                     const std::vector<EvalBox>& detections,
                                                     double threshold) {
  std::map<std::int64_t, std::int64_t> errors;
  for (const auto& [id, image] : by_image(truth, detections, threshold)) {
    std::int64_t& of_image = errors[id];
    each_pair(image, [&](const EvalBox* box, const EvalBox* detection) {
      const bool right =
          box != nullptr && detection != nullptr && box->category_id == detection->category_id;
      of_image += right ? 0 : 1;
    });
  }
  return errors;
}

}  // namespace muster::trainer
