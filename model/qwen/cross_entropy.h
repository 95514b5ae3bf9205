// Linear layer and cross-entropy in one, chunk by chunk: [rows, vocab] is never held.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "model/qwen/embedding.h"

namespace muster::model {

// Sum over rows of -log softmax(hidden weight^T)[label], an fp32 scalar. hidden [rows, dim], weight
// [vocab, dim], labels [rows] i64, all in 0..vocab-1. At most `chunk_rows` rows of logits exist at
// a time, on the CPU once (their gradient replaces them). Gradients of both are computed in
// forward, from the logits while they are there; backward only scales them, and can run once. With
// `tied` the weight's waits there for the lookups that made `hidden`.
at::Tensor cross_entropy_sum(const at::Tensor& hidden, const at::Tensor& weight,
                             const at::Tensor& labels, std::int64_t chunk_rows,
                             std::shared_ptr<TiedGradient> tied = nullptr);

}  // namespace muster::model
