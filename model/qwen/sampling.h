// Which token comes next.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace muster::model {

struct Sampling {
  double temperature = 0;  // 0: the most probable token, always
  // Draws among the fewest most probable tokens whose probabilities sum to at least this.
  double top_p = 1;
  std::int64_t top_k = 0;  // draws among so many most probable tokens; 0: all
  // Divides the positive and multiplies the negative logits of ids that were there before; above 1
  // it makes them less probable.
  double repetition_penalty = 1;
  std::uint64_t seed = 0;
};

// The `step`-th token: a pure function of its arguments. logits [vocab]; `seen`: the ids of the
// prompt and of the answer so far. The penalty comes first, then temperature, top_k and top_p, as
// in transformers. Of equal logits the smaller id comes first. Throws NumericError when a logit is
// not a number.
std::int64_t choose_token(const at::Tensor& logits, const Sampling& sampling, std::int64_t step,
                          std::span<const std::int64_t> seen = {});

}  // namespace muster::model
