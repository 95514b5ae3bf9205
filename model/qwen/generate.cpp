#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "base/error.h"
#include "model/qwen/qwen_core.h"
#include "model/qwen/qwen_vl.h"

namespace muster::model {
namespace {

MicroBatch one_token(std::int64_t id) {
  MicroBatch batch;
  batch.input_ids = at::tensor({id}, at::kLong);
  batch.cu_seqlens = {0, 1};
  return batch;
}

}  // namespace

std::vector<std::int64_t> QwenVL::generate(const MicroBatch& prompt, const GenerateOptions& options,
                                           at::Tensor* step_logits) const {
  const at::NoGradGuard no_graph;
  check_batch(prompt);
  if (prompt.cu_seqlens.size() != 2) throw DataError("generate: takes one prompt at a time");
  const std::int64_t prompt_tokens = prompt.input_ids.size(0);
  const RopeIndex rope =
      rope_index(prompt.input_ids, prompt.cu_seqlens, prompt.grid_thw, core_->config);
  KvCache cache(core_->config.text, prompt_tokens + options.max_new_tokens,
                token_embedding().options().requires_grad(false));
  // Vision enters here and nowhere else (law 4).
  at::Tensor last =
      core_->forward(prompt, rope, &cache).hidden.narrow(0, prompt_tokens - 1, 1);  // [1, hidden]
  std::vector<std::int64_t> generated;
  const at::Tensor ids = prompt.input_ids.to(at::kCPU).contiguous();
  std::vector<std::int64_t> seen(ids.const_data_ptr<std::int64_t>(),
                                 ids.const_data_ptr<std::int64_t>() + prompt_tokens);
  std::vector<at::Tensor> all_logits;
  while (static_cast<std::int64_t>(generated.size()) < options.max_new_tokens) {
    const at::Tensor step = logits(last).to(wide_dtype(last.scalar_type()));
    if (step_logits != nullptr) all_logits.push_back(step);
    const std::int64_t id =
        choose_token(step[0], options.sampling, static_cast<std::int64_t>(generated.size()), seen);
    generated.push_back(id);
    seen.push_back(id);
    if (options.on_token) options.on_token(id);
    if (std::find(options.stop.begin(), options.stop.end(), id) != options.stop.end()) break;
    if (options.stop_when && options.stop_when(generated)) break;
    const RopeIndex position{at::full({3, 1}, cache.length + rope.deltas.front(), at::kLong), {}};
    last = core_->forward(one_token(id), position, &cache).hidden;
  }
  if (step_logits != nullptr && !all_logits.empty()) *step_logits = at::cat(all_logits);
  return generated;
}

}  // namespace muster::model
