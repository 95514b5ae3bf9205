#include "trainer/checkpoint/shares.h"

#include <algorithm>
#include <numeric>

namespace muster::trainer {

std::vector<int> even_shares(const std::vector<std::int64_t>& bytes, int ranks,
                             const std::vector<int>& wishes) {
  std::vector<int> owners = wishes.empty() ? std::vector<int>(bytes.size(), kAnyRank) : wishes;
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks));
  std::vector<std::size_t> open;  // pieces without a wish
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (owners[i] == kAnyRank)
      open.push_back(i);
    else
      load[static_cast<std::size_t>(owners[i])] += bytes[i];
  }
  std::ranges::stable_sort(open, std::greater(), [&](std::size_t i) { return bytes[i]; });
  for (const std::size_t i : open) {
    const auto least = std::ranges::min_element(load);
    owners[i] = static_cast<int>(least - load.begin());
    *least += bytes[i];
  }
  return owners;
}

}  // namespace muster::trainer
