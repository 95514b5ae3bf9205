// A part of the samples for validation, drawn by picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/disjoint_sets.h"
#include "base/files.h"
#include "data/pack/digest_map.h"

namespace muster::data {

// Neither paths nor the order of files count: the draw is a pure function of what is shown. All
// samples of a picture, under whatever name, are on one side.
class ValidationDraw {
 public:
  explicit ValidationDraw(std::size_t samples);

  void show(std::size_t sample, const Digest& picture);  // by the checksum of its bytes
  // True for the samples of the validation part: `fraction` of the groups of samples that share
  // pictures, rounded, at least one group and never all. REQUIRES 0 < fraction < 1.
  std::vector<bool> draw(double fraction, std::uint64_t seed);

 private:
  // Of each sample the least checksum among its pictures.
  struct Least {
    Digest digest;
    bool any = false;
    void see(const Least& other) {
      if (other.any && (!any || other.digest < digest)) *this = other;
    }
  };

  DisjointSets groups_;
  DigestMap shown_by_;  // the first sample of each picture
  std::vector<Least> least_;
};

}  // namespace muster::data
