#include "model/qwen/qwen_core.h"

#include <ATen/core/grad_mode.h>
#include <fmt/core.h>

#include "base/error.h"
#include "model/qwen/embedding.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// Returns the rows of the text that image embeddings replace, in order.
at::Tensor image_rows(const at::Tensor& input_ids, const QwenConfig& config) {
  return (input_ids.cpu() == config.image_token_id).nonzero().squeeze(1);
}

}  // namespace

void check_batch(const MicroBatch& batch) {
  const bool pixels = batch.pixel_values.defined(), grid = batch.grid_thw.defined();
  if (pixels != grid)
    throw DataError(fmt::format(
        "{} is given without {}: pass pixel_values and image_grid_thw together, or neither for "
        "text only (and in generation only at pre-fill)",
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

QwenCore::QwenCore(const QwenConfig& c, const QwenOptions& o, const Weights& weights)
    : config(c), options(o), net(c, o.lora) {
  net.visit([&](const std::string& name, at::Tensor& tensor) {
    tensor = weights.at(name);
    TORCH_CHECK(tensor.scalar_type() == o.dtype, name, " is ", tensor.scalar_type(),
                ", the model computes in ", o.dtype);
  });
  if (net.tied) net.lm_head.weight = net.language.embed_tokens;
}

void QwenCore::set_dropout(std::optional<std::uint64_t> seed) {
  if (!options.lora || options.lora->dropout == 0) return;
  net.visit(ParamVisitor::layers([&](const std::string&, Linear& layer) {
    if (layer.lora) layer.lora->drop_seed = seed;
  }));
}

bool QwenCore::vision_trained() {
  bool trained = false;
  net.vision.visit("", [&](const std::string&, at::Tensor& tensor) {
    trained = trained || tensor.requires_grad();
  });
  return trained;
}

VisionOutput QwenCore::vision(const at::Tensor& pixel_values, const at::Tensor& grid_thw,
                              bool merge) {
  // A frozen tower keeps no activations.
  const at::AutoGradMode mode(at::GradMode::is_enabled() && vision_trained());
  return net.vision(upload(pixel_values, options.device).to(options.dtype), grid_thw,
                    {options.checkpoint_vision, options.keep_patches, merge}, gate);
}

at::Tensor QwenCore::embed(const at::Tensor& input_ids, std::shared_ptr<TiedGradient> tied) const {
  enter("model.embed_tokens.");
  return lookup(net.language.embed_tokens, upload(input_ids, options.device), std::move(tied));
}

QwenOutput QwenCore::forward(const MicroBatch& batch, const RopeIndex& rope, KvCache* cache) {
  QwenOutput out;
  DeepStack deepstack;
  if (batch.pixel_values.defined()) {
    VisionOutput seen = vision(batch.pixel_values, batch.grid_thw, /*merge=*/true);
    out.image_embeds = seen.embeds;
    out.image_patches = seen.patches;
    deepstack.levels = seen.deepstack;
    out.deepstack = std::move(seen.deepstack);
  }
  const at::Tensor& table = net.language.embed_tokens;
  if (net.tied && table.is_cpu() && table.requires_grad() && at::GradMode::is_enabled())
    out.tied = std::make_shared<TiedGradient>();
  at::Tensor embeds = embed(batch.input_ids, out.tied);
  if (out.image_embeds.defined()) {  // rope_index has matched image tokens and grids one to one
    deepstack.rows = upload(image_rows(batch.input_ids, config), options.device);
    embeds = embeds.index_copy(0, deepstack.rows, out.image_embeds);
  }
  out.hidden = net.language(embeds, deepstack, rope.position_ids, batch.cu_seqlens,
                            options.checkpoint_language, gate, cache);
  return out;
}

}  // namespace muster::model
