#include "data/epoch_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "base/rng.h"

namespace muster::data {
namespace {

std::vector<std::int64_t> distinct(std::vector<std::int64_t> values) {
  std::ranges::sort(values);
  const auto repeated = std::ranges::unique(values);
  values.erase(repeated.begin(), repeated.end());
  return values;
}

// How often each sample of a pack is seen in this epoch.
std::vector<std::int64_t> counts_of(const PackWeight& pack, std::uint64_t seed,
                                    std::int64_t epoch) {
  const double whole = std::floor(pack.weight);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(pack.samples),
                                   static_cast<std::int64_t>(whole));
  const auto some = static_cast<std::int64_t>(
      std::nearbyint((pack.weight - whole) * static_cast<double>(pack.samples)));
  if (some == 0) return counts;
  std::vector<std::int64_t> circle(counts.size());
  std::iota(circle.begin(), circle.end(), 0);
  Rng(seed, hash_name("pack part")).shuffle(circle);
  // Each epoch goes on around the circle where the one before stopped.
  const std::int64_t first = (epoch % pack.samples) * (some % pack.samples) % pack.samples;
  for (std::int64_t i = 0; i < some; ++i) {
    const std::int64_t at = (first + i) % pack.samples;
    ++counts[static_cast<std::size_t>(circle[static_cast<std::size_t>(at)])];
  }
  return counts;
}

}  // namespace

std::vector<double> repeat_factors(std::int64_t num_samples, const CategoriesOf& categories_of,
                                   double threshold) {
  std::vector<std::vector<std::int64_t>> categories;
  std::unordered_map<std::int64_t, std::int64_t> samples_with;
  for (std::int64_t i = 0; i < num_samples; ++i) {
    categories.push_back(distinct(categories_of(i)));
    for (const std::int64_t category : categories.back()) ++samples_with[category];
  }
  std::vector<double> factors;
  for (const auto& of_sample : categories) {
    double factor = 1;
    for (const std::int64_t category : of_sample) {
      const double frequency =
          static_cast<double>(samples_with.at(category)) / static_cast<double>(num_samples);
      factor = std::max(factor, std::sqrt(threshold / frequency));
    }
    factors.push_back(factor);
  }
  return factors;
}

EpochOrder::EpochOrder(std::vector<PackWeight> packs, std::vector<double> repeat,
                       std::uint64_t seed)
    : packs_(std::move(packs)), repeat_(std::move(repeat)), seed_(seed) {}

std::int64_t EpochOrder::times(std::int64_t sample, std::int64_t count, std::int64_t epoch) const {
  if (repeat_.empty()) return count;
  const double wanted = static_cast<double>(count) * repeat_[static_cast<std::size_t>(sample)];
  const double whole = std::floor(wanted);
  const std::uint64_t of_epoch =
      seed_of(seed_of(seed_, hash_name("repeat")), static_cast<std::uint64_t>(epoch));
  const bool up = Rng(of_epoch, static_cast<std::uint64_t>(sample)).uniform() < wanted - whole;
  return static_cast<std::int64_t>(whole) + (up ? 1 : 0);
}

std::vector<std::int64_t> EpochOrder::of(std::int64_t epoch) const {
  std::vector<std::int64_t> order;
  std::int64_t first = 0;
  for (std::size_t p = 0; p < packs_.size(); ++p) {
    const std::vector<std::int64_t> counts =
        counts_of(packs_[p], seed_of(seed_, static_cast<std::uint64_t>(p)), epoch);
    for (std::int64_t i = 0; i < packs_[p].samples; ++i) {
      const std::int64_t n = times(first + i, counts[static_cast<std::size_t>(i)], epoch);
      order.insert(order.end(), static_cast<std::size_t>(n), first + i);
    }
    first += packs_[p].samples;
  }
  Rng(seed_, static_cast<std::uint64_t>(epoch)).shuffle(order);
  return order;
}

}  // namespace muster::data
