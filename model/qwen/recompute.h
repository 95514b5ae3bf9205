// Activation checkpointing: a block's activations are dropped after forward and computed again in
// backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace muster::model {

// REQUIRES a function of its arguments and the default random generators alone: no other tensor
// that needs a gradient. The second run draws the same random numbers as the first, and the
// generators then go on as if there had been one run.
using BlockFunction =
    std::function<at::Tensor(const at::Tensor& x, const std::vector<at::Tensor>& params)>;

// f(x, params) with the same value and the same gradients, keeping only x. Without a graph to
// build, just f(x, params).
at::Tensor recompute(const BlockFunction& f, const at::Tensor& x,
                     const std::vector<at::Tensor>& params);

// Runs a block (a struct with visit() and operator()(x, context)) through recompute. The block is
// copied (tensor handles only), because backward runs it on stand-ins of its parameters; `context`
// must own what it refers to.
template <typename Block, typename Context>
at::Tensor recompute_block(Block block, const at::Tensor& x, const Context& context) {
  std::vector<at::Tensor> params;
  block.visit("", [&](const auto&, at::Tensor& tensor) { params.push_back(tensor); });
  const auto run = [block, context](const at::Tensor& input,
                                    const std::vector<at::Tensor>& given) mutable {
    std::size_t next = 0;
    block.visit("", [&](const auto&, at::Tensor& tensor) { tensor = given[next++]; });
    return block(input, context);
  };
  return recompute(run, x, params);
}

}  // namespace muster::model
