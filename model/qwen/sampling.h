// Which token comes next.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace muster::model {

struct Sampling {
  double temperature = 0;  // 0: the most probable token, always
  // Draws among the fewest most probable tokens whose probabilities sum to at least this.
  double top_p = 1;
  std::uint64_t seed = 0;
};

// The `step`-th token: a pure function of its arguments. logits [vocab]. Of equal logits the
// smaller id comes first. Throws NumericError when a logit is not a number.
std::int64_t choose_token(const at::Tensor& logits, const Sampling& sampling, std::int64_t step);

}  // namespace muster::model
