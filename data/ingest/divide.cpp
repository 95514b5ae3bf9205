#include "data/ingest/divide.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/rng.h"

namespace muster::data {

ValidationDraw::ValidationDraw(std::size_t samples) : groups_(samples), least_(samples) {}

void ValidationDraw::show(std::size_t sample, const Digest& picture) {
  groups_.join(shown_by_.emplace(picture, static_cast<std::uint32_t>(sample)).first, sample);
  least_[sample].see({picture, true});
}

std::vector<bool> ValidationDraw::draw(double fraction, std::uint64_t seed) {
  const std::size_t samples = least_.size();
  // A group is drawn by the least checksum of its pictures; samples of words alone by their place.
  for (std::size_t i = 0; i < samples; ++i) {
    const Least own = least_[i];
    least_[groups_.root(i)].see(own);
  }
  std::vector<std::pair<std::uint64_t, std::size_t>> drawn;  // rank, root
  for (std::size_t i = 0; i < samples; ++i) {
    if (groups_.root(i) != i) continue;
    const std::uint64_t key = least_[i].any ? hash_name(to_hex(least_[i].digest)) : i;
    drawn.emplace_back(seed_of(seed, key), i);
  }
  std::sort(drawn.begin(), drawn.end());
  const auto all = static_cast<std::int64_t>(drawn.size());
  const std::int64_t wanted = std::llround(fraction * static_cast<double>(all));
  const std::int64_t count = std::clamp<std::int64_t>(wanted, std::min<std::int64_t>(1, all - 1),
                                                      std::max<std::int64_t>(all - 1, 0));
  std::vector<bool> root_is_validation(samples, false);
  for (std::int64_t i = 0; i < count; ++i)
    root_is_validation[drawn[static_cast<std::size_t>(i)].second] = true;
  std::vector<bool> validation(samples, false);
  for (std::size_t i = 0; i < samples; ++i) validation[i] = root_is_validation[groups_.root(i)];
  return validation;
}

}  // namespace muster::data
