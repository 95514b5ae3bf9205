#include "trainer/assembly/options.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "configs/language_use.h"
#include "data/images/patchify.h"
#include "data/images/preprocessor_file.h"
#include "model/files/multiply_adds.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {
namespace {

// Weights expect the pixel values they were trained on: the folder's preprocessor file says which,
// and the families differ.
void check_pixels(const configs::Config& config, const model::VisionConfig& vision) {
  if (config.model.random_init) return;
  const auto file = data::preprocessor_in(find_model(config.model));
  if (!file) return;
  const data::PatchOptions published = data::read_preprocessor(*file);
  const auto compare = [&](const char* key, const std::vector<double>& ours,
                           const std::array<double, 3>& theirs) {
    for (std::size_t c = 0; c < 3; ++c)
      if (std::abs(ours[c] - theirs[c]) > 1e-6)
        throw ConfigError(fmt::format("{} is [{}], the weights were trained with [{}]: {}", key,
                                      fmt::join(ours, ", "), fmt::join(theirs, ", "),
                                      file->string()));
  };
  compare("data.image_mean", config.data.image_mean, published.mean);
  compare("data.image_std", config.data.image_std, published.std);
  const std::array ours{vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size};
  const std::array theirs{published.patch_size, published.merge_size,
                          published.temporal_patch_size};
  if (ours != theirs)
    throw ConfigError(fmt::format(
        "patch, merge and frame sizes are {} by config.json, {} by {}: one of the two files is of "
        "another model",
        fmt::join(ours, ", "), fmt::join(theirs, ", "), file->string()));
}

sharding::ReduceKind reduce_kind(configs::Reduce reduce) {
  switch (reduce) {
    case configs::Reduce::kOrdered: return sharding::ReduceKind::kOrdered;
    case configs::Reduce::kTree: return sharding::ReduceKind::kTree;
    case configs::Reduce::kNative: return sharding::ReduceKind::kNative;
  }
  return sharding::ReduceKind::kOrdered;
}

sharding::MasterKind master_kind(configs::Master master) {
  switch (master) {
    case configs::Master::kFp32: return sharding::MasterKind::kFloat32;
    case configs::Master::kSplit: return sharding::MasterKind::kSplit;
    case configs::Master::kNone: return sharding::MasterKind::kNone;
  }
  return sharding::MasterKind::kFloat32;
}

}  // namespace

data::AnswerFormat answer_format(configs::Answer answer) {
  switch (answer) {
    case configs::Answer::kJson: return data::AnswerFormat::kJson;
    case configs::Answer::kJson1000: return data::AnswerFormat::kJson1000;
    case configs::Answer::kLabels: return data::AnswerFormat::kLabels;
    case configs::Answer::kNone: return data::AnswerFormat::kNone;
  }
  return data::AnswerFormat::kNone;
}

at::ScalarType scalar_type(configs::Dtype dtype) {
  switch (dtype) {
    case configs::Dtype::kFp32: return at::kFloat;
    case configs::Dtype::kBf16: return at::kBFloat16;
    case configs::Dtype::kFp16: return at::kHalf;
  }
  return at::kFloat;
}

model::QwenOptions qwen_options(const configs::Config& config) {
  return {.dtype = scalar_type(config.model.dtype),
          .device = config.run.device == configs::Device::kCuda ? at::kCUDA : at::kCPU,
          .checkpoint_vision = config.model.checkpoint_vision,
          .checkpoint_language = config.model.checkpoint_language,
          .logits_chunk_tokens = config.model.logits_chunk_tokens,
          .keep_patches = configs::has_patches(config.detection.memory)};
}

model::HeadConfig head_config(const configs::Detection& d) {
  return {.proposals = d.queries == configs::Queries::kProposals,
          .use_language = configs::has_language(d.memory),
          .use_patches = configs::has_patches(d.memory),
          .box_attention = d.cross_attention == configs::CrossAttention::kBoxes,
          .neck_layers = d.neck_layers,
          .one_to_many = d.one_to_many,
          .num_queries = d.num_queries,
          .hidden_size = d.hidden_size,
          .num_layers = d.num_layers,
          .num_heads = d.num_heads,
          .mlp_size = d.mlp_size,
          .caption_layers = d.caption_layers,
          .caption_max_tokens = d.caption_max_tokens,
          .denoising_groups = d.denoising_groups,
          .denoising_box_noise = d.denoising_box_noise};
}

model::HeadLossOptions head_loss_options(const configs::Config& config) {
  const configs::Loss& l = config.loss;
  return {.focal_alpha = l.focal_alpha,
          .focal_gamma = l.focal_gamma,
          .match_l1 = l.match_l1,
          .match_giou = l.match_giou,
          .match_objectness = l.match_objectness,
          .match_caption = l.match_caption,
          .objectness_is_iou = l.objectness_target == configs::Objectness::kIou,
          .detection = config.detection.enabled};
}

data::EncodeOptions encode_options(const configs::Config& config, const model::QwenConfig& model) {
  check_pixels(config, model.vision);
  const configs::Data& d = config.data;
  data::EncodeOptions options;
  options.patches.patch_size = model.vision.patch_size;
  options.patches.merge_size = model.vision.spatial_merge_size;
  options.patches.temporal_patch_size = model.vision.temporal_patch_size;
  for (std::size_t c = 0; c < 3; ++c) {
    options.patches.mean[c] = d.image_mean[c];
    options.patches.std[c] = d.image_std[c];
  }
  options.patches.min_pixels = d.min_pixels;
  options.patches.max_pixels = d.max_pixels;
  options.system_prompt = d.system_prompt;
  options.prompt = d.prompt;
  options.answer = answer_format(d.answer);
  options.max_vision_tokens = d.max_vision_tokens;
  options.resize_over_budget = d.over_budget == configs::OverBudget::kResize;
  options.vocab_size = model.text.vocab_size;
  return options;
}

data::AugmentOptions augment_options(const configs::Config& config) {
  const configs::Augment& a = config.data.augment;
  data::AugmentOptions options;
  options.flip = a.flip;
  options.flip_words = a.flip_words;
  options.scale = {a.scale[0], a.scale[1]};
  options.crop = a.crop;
  options.crop_min_size = a.crop_min_size;
  options.min_visible = a.min_visible;
  options.colour = {a.brightness, a.contrast, a.saturation, a.hue};
  options.mosaic = a.mosaic;
  options.max_pixels = config.data.max_pixels;
  return options;
}

data::TokenCost token_cost(const configs::Config& config, const model::QwenConfig& model,
                           std::int64_t caption_words) {
  const model::MultiplyAdds work = model::multiply_adds(model);
  const std::int64_t patches = model.vision.merge_unit();
  const configs::Detection& head = config.detection;
  const bool captions = head.enabled && head.labels == configs::Labels::kOpen;
  const bool answers_alone = !configs::language_always_runs(head);
  const bool merged = !answers_alone || !configs::has_patches(head.memory);
  return {.token = 2 * work.token,
          .token_pair = 2 * work.token_pair,
          .vision_token = 2 * (patches * (work.patch + work.window) + (merged ? work.merge : 0)),
          .vision_pair = 2 * patches * patches * work.patch_pair,
          .label = config.loss.lm > 0 ? 2 * work.logits : 0,
          .caption = captions && config.loss.caption > 0 ? 2 * work.logits_over(caption_words) : 0,
          .answers_alone = answers_alone};
}

data::FillLimits fill_limits(const configs::Config& config) {
  return {config.batch.max_tokens, config.batch.max_vision_tokens, config.batch.max_samples};
}

namespace {

// What is never reached.
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// The run's first step, or epoch, that trains samples as stored; `length` is its last in the same
// unit.
std::int64_t close_at(const configs::Config& config, std::optional<std::int64_t> length) {
  if (!length || config.data.augment.close_after >= 1) return kNever;
  return static_cast<std::int64_t>(
      std::ceil(config.data.augment.close_after * static_cast<double>(*length)));
}

std::vector<std::int64_t> categories_of(const data::Sample& sample) {
  std::vector<std::int64_t> categories;
  for (const data::Object& object : sample.objects)
    if (!object.crowd) categories.push_back(object.category);
  return categories;
}

}  // namespace

data::SamplerOptions sampler_options(const configs::Config& config, const model::QwenConfig& model,
                                     const data::SampleSet& set, std::int64_t caption_words) {
  const configs::Batch& b = config.batch;
  data::SamplerOptions options{.micro_batches_per_step = b.micro_batches_per_step,
                               .max_tokens = b.max_tokens,
                               .max_vision_tokens = b.max_vision_tokens,
                               .max_samples = b.max_samples,
                               .seed = static_cast<std::uint64_t>(config.run.seed),
                               .cost = token_cost(config, model, caption_words),
                               .close_step = close_at(config, config.schedule.max_steps),
                               .close_epoch = close_at(config, config.schedule.epochs)};
  for (std::size_t p = 0; p < set.packs().size(); ++p)
    options.packs.push_back({set.used(p), config.data.train[p].weight});
  if (config.data.repeat_factor > 0) {
    options.repeat = data::repeat_factors(
        set.size(), [&set](std::int64_t i) { return categories_of(set.sample(i)); },
        config.data.repeat_factor);
  }
  return options;
}

data::LoaderOptions loader_options(const configs::Config& config, int rank, int world_size,
                                   data::Cursor start, std::int64_t step) {
  return {.micro_batches_per_step = config.batch.micro_batches_per_step,
          .rank = rank,
          .world_size = world_size,
          .threads = config.data.loader_threads,
          .prefetch_bytes = config.data.prefetch_bytes,
          .start = start,
          .epoch_first_step = step - start.step_in_epoch,
          .end_step = config.schedule.max_steps.value_or(kNever),
          .end_epoch = config.schedule.epochs.value_or(kNever)};
}

sharding::EngineOptions engine_options(const configs::Config& config) {
  sharding::EngineOptions options;
  options.bucket_bytes = config.sharding.bucket_bytes;
  options.overlap = config.sharding.overlap;
  options.wire_dtype = config.sharding.wire_dtype == configs::Dtype::kBf16
                           ? sharding::WireDtype::kBFloat16
                           : sharding::WireDtype::kFloat32;
  options.beta1 = config.optimizer.beta1;
  options.beta2 = config.optimizer.beta2;
  options.eps = config.optimizer.eps;
  options.clip_norm = config.optimizer.clip_norm;
  const configs::Optimizer& o = config.optimizer;
  options.master = master_kind(o.master);
  options.bf16_moments = o.moments == configs::Dtype::kBf16;
  options.stochastic_rounding = o.rounding == configs::Rounding::kStochastic;
  options.rounding_seed = static_cast<std::uint64_t>(config.run.seed);
  options.loss_scale = {.initial = o.loss_scale_initial,
                        .growth_interval = o.loss_scale_growth_interval,
                        .hysteresis = o.loss_scale_hysteresis};
  options.ema = {.decay = config.ema.decay, .tau = config.ema.tau};
  options.reduce = reduce_kind(config.sharding.reduce);
  options.optimizer_device = config.sharding.optimizer_device == configs::OptimizerDevice::kCpu
                                 ? sharding::OptimizerDevice::kHost
                                 : sharding::OptimizerDevice::kParameters;
  options.accumulation_budget_bytes = config.sharding.accumulation_budget_bytes;
  return options;
}

}  // namespace muster::trainer
