// Several packs as one list of samples: what the encoder, the sampler and the loader see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/images/image.h"
#include "data/pack/pack.h"

namespace muster::data {

// Sample i of the set is sample i - first(p) of its pack p. Thread-safe once built.
// `limit`: only the first so many samples of each pack are in the set; 0: all.
class SampleSet {
 public:
  // REQUIRES: not empty
  explicit SampleSet(std::vector<std::shared_ptr<const Pack>> packs, std::int64_t limit = 0);

  std::int64_t size() const;
  const std::vector<std::shared_ptr<const Pack>>& packs() const { return packs_; }
  // Samples of one pack that are in the set, and the first one's place.
  std::int64_t used(std::size_t pack) const { return first_[pack + 1] - first_[pack]; }
  std::int64_t first(std::size_t pack) const { return first_[pack]; }
  std::pair<std::size_t, std::int64_t> locate(std::int64_t i) const;  // pack, index in it
  Sample sample(std::int64_t i) const;      // categories are ids of class_map(), the set's own
  std::string place(std::int64_t i) const;  // "PACK: sample 'NAME'", for messages
  // The pictures of sample(i), decoded and turned. Throws DataError naming the sample, also when a
  // picture's size is not the recorded one.
  std::vector<Image> pictures(std::int64_t i, const Sample& sample) const;
  // One pack: its own ids. Several: categories are the same when their names are (trimmed, case
  // folded), numbered in the order of the packs.
  const ClassMap& class_map() const { return class_map_; }
  std::string fingerprint() const;  // of all packs, in order, and of what is used of them

 private:
  std::vector<std::shared_ptr<const Pack>> packs_;
  std::vector<std::int64_t> first_;  // [packs + 1]
  ClassMap class_map_;
  // Per pack: its category ids -> the set's. Empty for one pack, whose ids stay.
  std::vector<std::map<std::int64_t, std::int64_t>> set_id_;
};

// Throws DataError.
SampleSet open_set(const std::vector<std::filesystem::path>& packs, std::int64_t limit = 0);

}  // namespace muster::data
