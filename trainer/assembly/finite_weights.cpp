#include "trainer/assembly/finite_weights.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace muster::trainer {
namespace {

// One pass without memory of its own: NaN and infinity stay in a sum. The sum of finite values
// could overflow, so that who looks suspicious is counted.
bool looks_finite(const at::Tensor& weight) {
  return std::isfinite(weight.sum(at::kFloat).item<float>());
}

}  // namespace

void require_finite(const std::vector<model::NamedParam>& weights, const std::string& where) {
  constexpr std::size_t kShown = 5;
  std::vector<std::string> bad;
  for (const model::NamedParam& p : weights) {
    const at::Tensor weight = p.tensor.detach();
    if (weight.numel() == 0 || looks_finite(weight)) continue;
    const auto values = weight.isfinite().logical_not().sum().item<std::int64_t>();
    if (values > 0) bad.push_back(fmt::format("{} ({} of {})", p.name, values, weight.numel()));
  }
  if (bad.empty()) return;
  const std::vector<std::string> shown(
      bad.begin(), bad.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, bad.size())));
  throw DataError(fmt::format(
      "{}: {} weights hold NaN or infinity: {}{}. The file was damaged, or saved from a run that "
      "had diverged: use another",
      where, bad.size(), join(shown, ", "), bad.size() > kShown ? ", ..." : ""));
}

}  // namespace muster::trainer
