#include "model/files/multiply_adds.h"

namespace muster::model {

MultiplyAdds multiply_adds(const QwenConfig& config) {
  const TextConfig& t = config.text;
  const VisionConfig& v = config.vision;
  const std::int64_t heads = t.num_heads * t.head_dim;
  const std::int64_t layer =
      t.hidden_size * (2 * heads + 2 * t.num_kv_heads * t.head_dim + 3 * t.intermediate_size);
  const std::int64_t block = v.hidden_size * (4 * v.hidden_size + 3 * v.intermediate_size);
  const std::int64_t merged = v.hidden_size * v.merge_unit();
  const auto whole = static_cast<std::int64_t>(v.full_attention_blocks.size());
  const std::int64_t whole_blocks = v.window_size == 0 ? v.depth : whole;
  const std::int64_t side = v.window_size / v.patch_size;
  return {.token = t.num_layers * layer,
          .token_pair = t.num_layers * heads,  // causal: half of both products
          .patch = v.depth * block + v.patch_dim() * v.hidden_size,
          .window = (v.depth - whole_blocks) * 2 * v.hidden_size * side * side,
          .patch_pair = whole_blocks * 2 * v.hidden_size,
          .merge = merged * (merged + v.out_hidden_size),
          .logits = t.vocab_size * t.hidden_size,
          .logit = t.hidden_size};
}

}  // namespace muster::model
