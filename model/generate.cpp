#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "base/error.h"
#include "model/qwen_impl.h"

namespace muster::model {

std::vector<std::int64_t> QwenVL::generate(const MicroBatch& prompt, std::int64_t max_new_tokens,
                                           std::span<const std::int64_t> stop, at::Tensor* step_logits) const {
  const at::NoGradGuard no_graph;
  check_batch(prompt);
  if (prompt.cu_seqlens.size() != 2) throw DataError("generate: takes one prompt at a time");
  const std::int64_t prompt_tokens = prompt.input_ids.size(0);
  const RopeIndex rope = rope_index(prompt.input_ids, prompt.cu_seqlens, prompt.grid_thw, impl_->config);
  KvCache cache(impl_->config.text, prompt_tokens + max_new_tokens, token_embedding().options().requires_grad(false));
  // Vision enters here and nowhere else (law 4).
  at::Tensor last = impl_->forward(prompt, rope, &cache).hidden.narrow(0, prompt_tokens - 1, 1);  // [1, hidden]
  std::vector<std::int64_t> generated;
  std::vector<at::Tensor> all_logits;
  while (static_cast<std::int64_t>(generated.size()) < max_new_tokens) {
    const at::Tensor step = logits(last).to(wide_dtype(last.scalar_type()));
    if (step_logits != nullptr) all_logits.push_back(step);
    generated.push_back(step.argmax(1).item<std::int64_t>());
    if (std::find(stop.begin(), stop.end(), generated.back()) != stop.end()) break;
    MicroBatch next;
    next.input_ids = at::tensor({generated.back()}, at::kLong);
    next.cu_seqlens = {0, 1};
    const RopeIndex position{at::full({3, 1}, cache.length + rope.deltas.front(), at::kLong), {}};
    last = impl_->forward(next, position, &cache).hidden;
  }
  if (step_logits != nullptr && !all_logits.empty()) *step_logits = at::cat(all_logits);
  return generated;
}

}  // namespace muster::model
