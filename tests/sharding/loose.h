// A model whose gradients are known exactly on every device, whatever the order autograd takes.
#pragma once

#include <numeric>

#include "sharding/toy.h"

namespace muster::test {

// Parameters of odd sizes, tied, frozen and unused ones, each with a gradient of its own: the order
// in which autograd meets them is free, and `order` shuffles it.
class Loose {
 public:
  explicit Loose(std::uint64_t seed, at::Device device = at::kCPU) {
    Rng rng(seed);
    const std::int64_t sizes[]{0, 1, 7, 64, 65, 97, 1000, 5003};
    const std::int64_t count = 3 + rng.below(9);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t numel = sizes[rng.below(8)];
      const bool frozen = rng.below(6) == 0;
      const std::string group = i % 2 == 0 ? "a." : "b.";
      const std::string name = (frozen ? "frozen." : group) + std::to_string(i);
      named.push_back(
          {name, random_tensor({numel}, seed * 100 + static_cast<std::uint64_t>(i), 1).to(device)});
    }
    named.push_back({"a.last", random_tensor({33}, seed * 100 + 99, 1).to(device)});
    named.push_back({"b.tied", named.back().tensor});
  }

  ParamRegistry registry() const {
    return ParamRegistry(
        named, {{"frozen", {"frozen."}, 0, true}, {"a", {"a."}, 0.1}, {"b", {"b."}}}, false);
  }

  at::Tensor loss(std::int64_t index, std::uint64_t order) const {
    std::vector<std::size_t> terms(named.size());
    std::iota(terms.begin(), terms.end(), 0);
    Rng rng(order);
    rng.shuffle(terms);
    at::Tensor sum;
    for (const std::size_t i : terms) {
      if ((index + static_cast<std::int64_t>(i)) % 4 == 0) continue;  // not in every micro-batch
      const at::Tensor& p = named[i].tensor;
      const at::Tensor factor =
          random_tensor(p.sizes(), 7000 + static_cast<std::uint64_t>(index), 1).to(p.device());
      const at::Tensor term = (p * factor).sum();
      sum = sum.defined() ? sum + term : term;
    }
    return sum;
  }

  std::vector<NamedTensor> named;
};

}  // namespace muster::test
