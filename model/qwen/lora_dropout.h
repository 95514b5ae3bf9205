// What an adapter's dropout keeps.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace muster::model {

// A tensor like x: 1 / (1 - p) where an element is kept, 0 where it is dropped. On one kind of
// device a pure function of (key, shape, p): the same on every rank, in a second run, and after a
// resume. 0 < p < 1.
at::Tensor keep_factors(const at::Tensor& x, double p, std::uint64_t key);

}  // namespace muster::model
