// Which samples an epoch sees, how often, and in what order: a pure function of the packs' weights,
// the samples' repeat factors, seed and epoch.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace muster::data {

// Some samples of a set in a row, one pack's, and how often an epoch sees each of them.
struct PackWeight {
  std::int64_t samples = 0;
  double weight = 1;
};

// The categories of a sample's objects, in any order, repeated or not.
using CategoriesOf = std::function<std::vector<std::int64_t>(std::int64_t sample)>;

// LVIS's repeat factors (Gupta, Dollar and Girshick, CVPR 2019, section 5.1): a category c that a
// part f(c) of the samples has gets r(c) = max(1, sqrt(threshold / f(c))), a sample the largest of
// its categories', one without any 1.
std::vector<double> repeat_factors(std::int64_t num_samples, const CategoriesOf& categories_of,
                                   double threshold);

class EpochOrder {
 public:
  // REQUIRES: `packs` cover all samples; `repeat` is one factor per sample, or empty for 1.
  EpochOrder(std::vector<PackWeight> packs, std::vector<double> repeat, std::uint64_t seed);

  // Sample indices, shuffled. A weight of 2.5 is every sample twice and a seeded half a third time;
  // the halves of two epochs in a row make the whole. What a repeat factor leaves after its whole
  // part is rounded at random, anew in each epoch.
  std::vector<std::int64_t> of(std::int64_t epoch) const;

 private:
  std::int64_t times(std::int64_t sample, std::int64_t count, std::int64_t epoch) const;

  std::vector<PackWeight> packs_;
  std::vector<double> repeat_;
  std::uint64_t seed_;
};

}  // namespace muster::data
