// Weighted sums of a few rows of a table: what bilinear reading of a map comes to.
#pragma once

#include <ATen/core/Tensor.h>

namespace muster::model {

// table [rows, dim], cells [n, k] i64, weights [n, k] f32 without a gradient -> [n, dim] in the
// table's dtype: sum over k of weights[n, k] * table[cells[n, k]]. Backward adds in order of n, so
// that its bits are always the same.
at::Tensor mix_rows(const at::Tensor& table, const at::Tensor& cells, const at::Tensor& weights);

}  // namespace muster::model
