// Positions of packed samples for M-RoPE: text counts on, image tokens have a time, a row and a
// column.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/files/config.h"

namespace muster::model {

// M-RoPE positions [3, tokens] i64 of packed samples, exact against transformers' get_rope_index
// per sample.
struct RopeIndex {
  at::Tensor position_ids;           // [3, tokens]
  std::vector<std::int64_t> deltas;  // per sample: max position + 1 - length
};

// Throws DataError unless the text has one image token per merged token of each image, in order.
RopeIndex rope_index(const at::Tensor& input_ids, std::span<const std::int64_t> cu_seqlens,
                     const at::Tensor& grid_thw, const QwenConfig& config);

}  // namespace muster::model
