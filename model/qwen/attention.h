// The one attention of every tower: packed segments, no padding. Varlen flash on CUDA for 16-bit
// types, else per-segment SDPA (segments of equal length are batched, so the vision tower's windows
// run as one call).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace muster::model {

// q [tokens, heads, head_dim], k and v [tokens, kv_heads, head_dim] (heads a multiple of kv_heads);
// cu_seqlens [segments + 1] from 0 to tokens. Returns [tokens, heads, head_dim]. Scale
// head_dim^-0.5.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  std::span<const std::int64_t> cu_seqlens, bool causal);

// The newest tokens of one sequence against all of it: q [new, heads, head_dim], k and v [all,
// kv_heads, head_dim]. No mask: REQUIRES new == 1. Returns [new, heads, head_dim].
at::Tensor attend_cached(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace muster::model
