#include "model/qwen/qwen_vl.h"

#include <fmt/core.h>

#include <map>

#include "base/error.h"
#include "model/qwen/cross_entropy.h"
#include "model/qwen/qwen_core.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

at::TensorOptions tensor_options(const QwenOptions& options) {
  return at::TensorOptions().dtype(options.dtype).device(options.device);
}

// Rows are positions whose next token, in the same sample, carries a label.
struct LabelRows {
  std::vector<std::int64_t> rows, labels;
};

LabelRows label_rows(const MicroBatch& batch, std::int64_t vocab) {
  const at::Tensor labels = batch.labels.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* label = labels.const_data_ptr<std::int64_t>();
  LabelRows result;
  for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s)
    for (std::int64_t t = batch.cu_seqlens[s] + 1; t < batch.cu_seqlens[s + 1]; ++t) {
      if (label[t] == kIgnoreLabel) continue;
      if (label[t] < 0 || label[t] >= vocab)
        throw DataError(fmt::format("label {} at token {} is outside the vocabulary of {}",
                                    label[t], t, vocab));
      result.rows.push_back(t - 1);
      result.labels.push_back(label[t]);
    }
  return result;
}

}  // namespace

QwenVL::QwenVL() = default;
QwenVL::~QwenVL() = default;
QwenVL::QwenVL(QwenVL&&) noexcept = default;

QwenVL QwenVL::random(const QwenConfig& config, const QwenOptions& options, std::uint64_t seed) {
  Weights weights = random_weights(config, tensor_options(options), seed);
  if (options.lora) add_adapters(weights, config, *options.lora, tensor_options(options));
  QwenVL model;
  model.core_ = std::make_unique<QwenCore>(config, options, weights);
  return model;
}

QwenVL QwenVL::load(const std::filesystem::path& folder, const QwenOptions& options) {
  const QwenConfig config = read_config(folder);
  Weights weights = load_weights(folder, config, tensor_options(options));
  if (options.lora) add_adapters(weights, config, *options.lora, tensor_options(options));
  QwenVL model;
  model.core_ = std::make_unique<QwenCore>(config, options, weights);
  return model;
}

QwenVL QwenVL::cast(at::ScalarType dtype) const {
  Weights weights;
  for (const auto& [name, tensor] : parameters()) weights[name] = tensor.to(dtype);
  QwenOptions options = core_->options;
  options.dtype = dtype;
  QwenVL model;
  model.core_ = std::make_unique<QwenCore>(core_->config, options, weights);
  model.core_->gate = core_->gate;
  return model;
}

QwenOutput QwenVL::forward(const MicroBatch& batch) const {
  check_batch(batch);
  return core_->forward(
      batch, rope_index(batch.input_ids, batch.cu_seqlens, batch.grid_thw, core_->config));
}

QwenOutput QwenVL::vision(const at::Tensor& pixel_values, const at::Tensor& grid_thw) const {
  VisionOutput seen = core_->vision(pixel_values, grid_thw, !core_->options.keep_patches);
  return {seen.embeds, {}, seen.patches, std::move(seen.deepstack)};
}

at::Tensor QwenVL::logits(const at::Tensor& hidden) const {
  core_->enter("lm_head.");
  return core_->net.lm_head(hidden);
}

at::Tensor QwenVL::lm_loss_sum(const at::Tensor& hidden, const MicroBatch& batch,
                               std::shared_ptr<TiedGradient> tied) const {
  core_->enter("lm_head.");
  const LabelRows wanted = label_rows(batch, core_->config.text.vocab_size);
  if (wanted.rows.empty())
    // Zero, with hidden's graph.
    return hidden.narrow(0, 0, 0).sum(wide_dtype(hidden.scalar_type()));
  return cross_entropy_sum(hidden.index_select(0, upload(wanted.rows, hidden.device())),
                           core_->net.lm_head.weight, upload(wanted.labels, hidden.device()),
                           core_->options.logits_chunk_tokens, std::move(tied));
}

std::vector<NamedParam> QwenVL::parameters() const {
  std::vector<NamedParam> params;
  core_->net.visit([&](const std::string& name, at::Tensor& tensor) {
    params.push_back({name, tensor});
  });
  return params;
}

std::vector<NamedParam> QwenVL::merged_parameters() const {
  std::map<std::string, at::Tensor> merged;
  core_->net.visit(ParamVisitor::layers([&](const std::string& name, Linear& layer) {
    if (layer.lora) merged[name + ".weight"] = merged_weight(layer.weight, *layer.lora);
  }));
  std::vector<NamedParam> params;
  for (NamedParam& param : parameters()) {
    if (is_adapter(param.name)) continue;
    const auto found = merged.find(param.name);
    if (found != merged.end()) param.tensor = found->second;
    params.push_back(std::move(param));
  }
  return params;
}

const QwenConfig& QwenVL::config() const { return core_->config; }

const at::Tensor& QwenVL::token_embedding() const { return core_->net.language.embed_tokens; }

void QwenVL::set_dropout(std::optional<std::uint64_t> seed) { core_->set_dropout(seed); }

void QwenVL::set_forward_gate(ForwardGate gate) { core_->gate = std::move(gate); }

}  // namespace muster::model
