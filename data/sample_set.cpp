#include "data/sample_set.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "data/images/codec.h"
#include "data/images/upright.h"

namespace muster::data {
namespace {

// The categories of all packs, one per name, numbered from 1 in the order they are met.
ClassMap union_of(const std::vector<std::shared_ptr<const Pack>>& packs) {
  std::vector<Category> all;
  for (const auto& pack : packs) {
    for (std::int64_t k = 0; k < pack->class_map().size(); ++k) {
      const std::string& name = pack->class_map().category(k).name;
      if (ClassMap(all).find_name(name) >= 0) continue;
      all.push_back({static_cast<std::int64_t>(all.size()) + 1, name});
    }
  }
  return ClassMap(std::move(all));
}

}  // namespace

SampleSet::SampleSet(std::vector<std::shared_ptr<const Pack>> packs, std::int64_t limit)
    : packs_(std::move(packs)) {
  first_ = {0};
  for (const auto& pack : packs_) {
    const std::int64_t used = limit > 0 ? std::min(limit, pack->size()) : pack->size();
    first_.push_back(first_.back() + used);
  }
  if (packs_.size() == 1) {
    class_map_ = packs_.front()->class_map();
    return;
  }
  class_map_ = union_of(packs_);
  for (const auto& pack : packs_) {
    auto& ids = set_id_.emplace_back();
    for (std::int64_t k = 0; k < pack->class_map().size(); ++k) {
      const Category& own = pack->class_map().category(k);
      ids[own.id] = class_map_.category(class_map_.find_name(own.name)).id;
    }
  }
}

std::int64_t SampleSet::size() const { return first_.back(); }

std::pair<std::size_t, std::int64_t> SampleSet::locate(std::int64_t i) const {
  if (i < 0 || i >= size())
    throw DataError(fmt::format("sample {} of a set of {} samples", i, size()));
  const auto after = std::ranges::upper_bound(first_, i);
  const auto pack = static_cast<std::size_t>(after - first_.begin()) - 1;
  return {pack, i - first_[pack]};
}

Sample SampleSet::sample(std::int64_t i) const {
  const auto [pack, index] = locate(i);
  Sample sample = packs_[pack]->sample(index);
  if (set_id_.empty()) return sample;
  for (Object& object : sample.objects) object.category = set_id_[pack].at(object.category);
  return sample;
}

std::string SampleSet::place(std::int64_t i) const {
  const auto [pack, index] = locate(i);
  return fmt::format("{}: sample '{}'", packs_[pack]->path().string(),
                     packs_[pack]->sample(index).name);
}

std::vector<Image> SampleSet::pictures(std::int64_t i, const Sample& sample) const {
  const Pack& pack = *packs_[locate(i).first];
  std::vector<Image> images;
  for (const Picture& picture : sample.pictures) {
    const std::string where = place(i);
    Image image = decode_image(pack.picture_bytes(picture.index), where);
    if (picture.orientation != 1) image = upright(image, picture.orientation);
    if (image.width != picture.width || image.height != picture.height)
      throw DataError(fmt::format("{}: recorded as {}x{} pixels, its image has {}x{}", where,
                                  picture.width, picture.height, image.width, image.height));
    images.push_back(std::move(image));
  }
  return images;
}

std::string SampleSet::fingerprint() const {
  if (packs_.size() == 1 && used(0) == packs_.front()->size()) return packs_.front()->fingerprint();
  std::string all;
  for (std::size_t p = 0; p < packs_.size(); ++p) {
    all += packs_[p]->fingerprint();
    if (used(p) < packs_[p]->size()) all += fmt::format(" first {}", used(p));
    all += "\n";
  }
  return xxh128(std::as_bytes(std::span(all)));
}

SampleSet open_set(const std::vector<std::filesystem::path>& paths, std::int64_t limit) {
  std::vector<std::shared_ptr<const Pack>> packs;
  for (const auto& path : paths) packs.push_back(std::make_shared<const Pack>(path));
  return SampleSet(std::move(packs), limit);
}

}  // namespace muster::data
