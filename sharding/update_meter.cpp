#include "sharding/update_meter.h"

#include <ATen/ATen.h>

#include <cmath>
#include <span>

#include "sharding/kernels/exact_sum.h"

namespace muster::sharding {
namespace {

double root_of(std::span<const std::int64_t> limbs) {
  return std::sqrt(ExactSum::value(limbs.first<ExactSum::kLimbs>()));
}

}  // namespace

UpdateMeter::UpdateMeter(EngineCore& core, at::Device device)
    : core_(core),
      sums_(at::zeros({static_cast<std::int64_t>(core.registry.groups().size()), 2,
                       std::int64_t{ExactSum::kLimbs}},
                      at::dtype(at::kLong).device(device))) {}

at::Tensor UpdateMeter::sums_of(int group) const { return sums_[group]; }

void UpdateMeter::add_untouched(int group, Kernels& kernels, const AdamWRun& run) {
  const at::Tensor non_finite = at::zeros({1}, sums_.options().dtype(at::kByte));
  kernels.add_squares(masters_of(run), sums_of(group)[0], non_finite);
}

std::vector<UpdateNorms> UpdateMeter::agree() {
  const at::Tensor host = sums_.cpu().contiguous();
  const std::span<std::int64_t> all(host.data_ptr<std::int64_t>(), host.numel());
  core_.queue.wait(  // [C]
      core_.post(-1, Phase::kConsensus, [&] { core_.collective->all_reduce_sum(all); }));
  core_.report_finished();
  std::vector<UpdateNorms> norms;
  constexpr std::size_t kGroup = 2 * ExactSum::kLimbs;
  for (std::size_t begin = 0; begin < all.size(); begin += kGroup)
    norms.push_back({.weight = root_of(all.subspan(begin)),
                     .update = root_of(all.subspan(begin + ExactSum::kLimbs))});
  return norms;
}

}  // namespace muster::sharding
