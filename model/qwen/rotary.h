// Rotary position embeddings of both towers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/files/config.h"

namespace muster::model {

// Angles' cosines and sines, [tokens, 1, head_dim / 2]: both halves of a head turn by the same
// angles.
struct Rotary {
  at::Tensor cos, sin;
};

// Turns the pairs (x[i], x[i + head_dim/2]) of each head. x [tokens, heads, head_dim]; computed in
// the dtype of the angles, returned in its own.
at::Tensor rotate(const at::Tensor& x, const Rotary& rotary);

// M-RoPE: frequency i takes its position from row 0 (time), 1 (height) or 2 (width): in runs of
// mrope_section's lengths, or interleaved, 0 1 2 0 1 2 ..., height and width as often as
// mrope_section says as far as the head reaches, time everywhere else. position_ids [3, tokens] i64
// on the CPU. Computed in fp32 there, then cast to `dtype`.
Rotary text_rotary(const at::Tensor& position_ids, const TextConfig& config, bool interleaved,
                   at::ScalarType dtype, at::Device device);

// theta^-(2i/dim) for i < dim/2, [dim / 2], with transformers' fp32 arithmetic.
at::Tensor inverse_frequencies(double theta, std::int64_t dim);

// angles [tokens, head_dim / 2] on the CPU.
Rotary rotary_of(const at::Tensor& angles, at::ScalarType dtype, at::Device device);

}  // namespace muster::model
