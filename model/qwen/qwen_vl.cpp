#include "model/qwen/qwen_vl.h"

#include <ATen/core/grad_mode.h>
#include <fmt/core.h>

#include "base/error.h"
#include "model/qwen/cross_entropy.h"
#include "model/qwen/embedding.h"
#include "model/qwen/qwen_impl.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

at::TensorOptions tensor_options(const QwenOptions& options) {
  return at::TensorOptions().dtype(options.dtype).device(options.device);
}

// Positions whose next token carries a label, inside each sample, and those labels.
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

// Rows of the text that image embeddings replace, in order.
at::Tensor image_rows(const at::Tensor& input_ids, const QwenConfig& config) {
  return (input_ids.cpu() == config.image_token_id).nonzero().squeeze(1);
}

}  // namespace

void check_batch(const MicroBatch& batch) {
  const bool pixels = batch.pixel_values.defined(), grid = batch.grid_thw.defined();
  if (pixels != grid)
    throw DataError(fmt::format(
        "{} is given without {}: pass pixel_values and image_grid_thw together, or neither for "
        "text "
        "only (and in generation only at pre-fill)",
        pixels ? "pixel_values" : "image_grid_thw", pixels ? "image_grid_thw" : "pixel_values"));
  // Bytes would be cast without complaint, and the tower would see 0..255 where it expects about
  // -2..2 (L-103).
  if (pixels && !batch.pixel_values.is_floating_point())
    throw DataError(fmt::format(
        "pixel_values is {}: pass normalised floating-point patches, see preprocessor_config.json",
        c10::toString(batch.pixel_values.scalar_type())));
  for (const auto& [name, ids] :
       {std::pair{"input_ids", batch.input_ids}, {"labels", batch.labels}})
    if (ids.defined() && ids.scalar_type() != at::kLong)
      throw DataError(
          fmt::format("{} is {}: token ids are int64", name, c10::toString(ids.scalar_type())));
  const auto& cu = batch.cu_seqlens;
  if (cu.size() < 2 || cu.front() != 0 || cu.back() != batch.input_ids.size(0))
    throw DataError(fmt::format("cu_seqlens must run from 0 to the number of tokens, {}",
                                batch.input_ids.size(0)));
}

QwenVL::Impl::Impl(const QwenConfig& c, const QwenOptions& o, Weights weights)
    : config(c), options(o), net(c) {
  net.visit([&](const std::string& name, at::Tensor& tensor) {
    tensor = weights.at(name);
    TORCH_CHECK(tensor.scalar_type() == o.dtype, name, " is ", tensor.scalar_type(),
                ", the model computes in ", o.dtype);
  });
  if (net.tied) net.lm_head.weight = net.language.embed_tokens;
}

bool QwenVL::Impl::vision_trained() {
  bool trained = false;
  net.vision.visit("", [&](const std::string&, at::Tensor& tensor) {
    trained = trained || tensor.requires_grad();
  });
  return trained;
}

VisionOutput QwenVL::Impl::vision(const at::Tensor& pixel_values, const at::Tensor& grid_thw) {
  const at::AutoGradMode mode(at::GradMode::is_enabled() &&
                              vision_trained());  // a frozen tower keeps no activations
  return net.vision(upload(pixel_values, options.device).to(options.dtype), grid_thw,
                    options.checkpoint_vision, gate);
}

at::Tensor QwenVL::Impl::embed(const at::Tensor& input_ids) const {
  enter("model.embed_tokens.");
  return lookup(net.language.embed_tokens, upload(input_ids, options.device));
}

QwenOutput QwenVL::Impl::forward(const MicroBatch& batch, const RopeIndex& rope, KvCache* cache) {
  QwenOutput out;
  DeepStack deepstack;
  if (batch.pixel_values.defined()) {
    VisionOutput seen = vision(batch.pixel_values, batch.grid_thw);
    out.image_embeds = seen.embeds;
    out.deepstack = deepstack.levels = std::move(seen.deepstack);
  }
  at::Tensor embeds = embed(batch.input_ids);
  if (out.image_embeds.defined()) {  // rope_index has matched image tokens and grids one to one
    deepstack.rows = upload(image_rows(batch.input_ids, config), options.device);
    embeds = embeds.index_copy(0, deepstack.rows, out.image_embeds);
  }
  out.hidden = net.language(embeds, deepstack, rope.position_ids, batch.cu_seqlens,
                            options.checkpoint_language, gate, cache);
  return out;
}

QwenVL::QwenVL() = default;
QwenVL::~QwenVL() = default;
QwenVL::QwenVL(QwenVL&&) noexcept = default;

QwenVL QwenVL::random(const QwenConfig& config, const QwenOptions& options, std::uint64_t seed) {
  QwenVL model;
  model.impl_ = std::make_unique<Impl>(config, options,
                                       random_weights(config, tensor_options(options), seed));
  return model;
}

QwenVL QwenVL::load(const std::filesystem::path& folder, const QwenOptions& options) {
  const QwenConfig config = read_config(folder);
  QwenVL model;
  model.impl_ = std::make_unique<Impl>(config, options,
                                       load_weights(folder, config, tensor_options(options)));
  return model;
}

QwenVL QwenVL::cast(at::ScalarType dtype) const {
  Weights weights;
  for (const auto& [name, tensor] : parameters()) weights[name] = tensor.to(dtype);
  QwenOptions options = impl_->options;
  options.dtype = dtype;
  QwenVL model;
  model.impl_ = std::make_unique<Impl>(impl_->config, options, std::move(weights));
  model.impl_->gate = impl_->gate;
  return model;
}

QwenOutput QwenVL::forward(const MicroBatch& batch) const {
  check_batch(batch);
  return impl_->forward(
      batch, rope_index(batch.input_ids, batch.cu_seqlens, batch.grid_thw, impl_->config));
}

at::Tensor QwenVL::vision(const at::Tensor& pixel_values, const at::Tensor& grid_thw) const {
  return impl_->vision(pixel_values, grid_thw).embeds;
}

at::Tensor QwenVL::logits(const at::Tensor& hidden) const {
  impl_->enter("lm_head.");
  return impl_->net.lm_head(hidden);
}

at::Tensor QwenVL::lm_loss_sum(const at::Tensor& hidden, const MicroBatch& batch) const {
  impl_->enter("lm_head.");
  const LabelRows wanted = label_rows(batch, impl_->config.text.vocab_size);
  if (wanted.rows.empty())
    return hidden.narrow(0, 0, 0).sum(
        wide_dtype(hidden.scalar_type()));  // zero, with hidden's graph
  return cross_entropy_sum(hidden.index_select(0, upload(wanted.rows, hidden.device())),
                           impl_->net.lm_head.weight, upload(wanted.labels, hidden.device()),
                           impl_->options.logits_chunk_tokens);
}

std::vector<NamedParam> QwenVL::parameters() const {
  std::vector<NamedParam> params;
  impl_->net.visit([&](const std::string& name, at::Tensor& tensor) {
    params.push_back({name, tensor});
  });
  return params;
}

const QwenConfig& QwenVL::config() const { return impl_->config; }

const at::Tensor& QwenVL::token_embedding() const { return impl_->net.language.embed_tokens; }

void QwenVL::set_forward_gate(ForwardGate gate) { impl_->gate = std::move(gate); }

}  // namespace muster::model
