#include "trainer/evaluate/eval_images.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <span>

namespace muster::trainer {
namespace {

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

bool EvalImages::has(std::int64_t of_set) const {
  return std::ranges::binary_search(sample, of_set);
}

std::int64_t EvalImages::first_image(std::int64_t of_set) const {
  const auto place = std::ranges::lower_bound(sample, of_set) - sample.begin();
  return first[static_cast<std::size_t>(place)];
}

bool is_evaluated(const data::SampleSet& set, std::int64_t sample, std::int64_t max_samples) {
  return max_samples <= 0 || set.locate(sample).second < max_samples;
}

// Ids are places in the order of the source's ids: COCO breaks score ties by the order of ids, and
// a source's id may stand at several samples.
EvalImages eval_images(const data::SampleSet& set, std::int64_t max_samples) {
  EvalImages images{.sample = {}, .first = {0}, .source_id = {}, .image_id = {}};
  std::vector<std::int64_t>& source_id = images.source_id;
  for (std::int64_t i = 0; i < set.size(); ++i) {
    if (!is_evaluated(set, i, max_samples)) continue;
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

std::vector<std::size_t> packs_by_id(const data::SampleSet& set, const EvalImages& images) {
  std::vector<std::size_t> pack(images.image_id.size());
  for (std::size_t k = 0; k < images.sample.size(); ++k)
    for (std::int64_t image = images.first[k]; image < images.first[k + 1]; ++image)
      pack[static_cast<std::size_t>(images.image_id[static_cast<std::size_t>(image)])] =
          set.locate(images.sample[k]).first;
  return pack;
}

}  // namespace muster::trainer
