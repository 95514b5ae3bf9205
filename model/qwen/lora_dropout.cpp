#include "model/qwen/lora_dropout.h"

#include <ATen/Context.h>
#include <ATen/Dispatch.h>

#include "base/rng.h"

namespace muster::model {
namespace {

// One draw per element, keyed by its number: no generator's state is read or moved.
at::Tensor host_factors(const at::Tensor& x, double p, std::uint64_t key) {
  const at::Tensor factors = at::empty(x.sizes(), x.options().requires_grad(false));
  const auto dropped = static_cast<std::uint64_t>(p * 0x1p64);  // of the 2^64 draws
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "keep_factors", [&] {
    auto* const values = factors.mutable_data_ptr<scalar_t>();
    const auto kept = static_cast<scalar_t>(1 / (1 - p));
    for (std::int64_t i = 0; i < factors.numel(); ++i) {
      const std::uint64_t draw =
          splitmix64(key + static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ULL);
      values[i] = draw < dropped ? scalar_t(0) : kept;
    }
  });
  return factors;
}

}  // namespace

at::Tensor keep_factors(const at::Tensor& x, double p, std::uint64_t key) {
  if (x.is_cpu()) return host_factors(x, p, key);
  at::Generator generator = at::globalContext().defaultGenerator(x.device()).clone();
  generator.set_current_seed(key);  // its counter starts again at 0
  return at::empty(x.sizes(), x.options().requires_grad(false))
      .bernoulli_(1 - p, generator)
      .mul_(1 / (1 - p));
}

}  // namespace muster::model
