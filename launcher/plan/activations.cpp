#include "launcher/plan/activations.h"

#include <algorithm>
#include <cmath>

#include "configs/language_use.h"
#include "data/pack/pack.h"
#include "model/files/multiply_adds.h"
#include "model/head/caption_decoder.h"
#include "model/head/layers.h"
#include "model/qwen/vision_tower.h"
#include "trainer/assembly/options.h"
#include "trainer/assembly/run_data.h"

namespace muster::launcher {
namespace {

std::int64_t element_bytes(const configs::Config& config) {
  return configs::dtype_bytes(config.model.dtype);
}
bool on_gpu(const configs::Config& config) { return config.run.device == configs::Device::kCuda; }

// Patches and their language states are one map; merged tokens and theirs stand side by side.
std::int64_t head_memory_tokens(const configs::Config& c, const model::VisionConfig& v,
                                const MicroBatchShape& s) {
  if (configs::has_patches(c.detection.memory)) return s.vision_tokens * v.merge_unit();
  return s.vision_tokens * (configs::has_language(c.detection.memory) ? 2 : 1);
}
std::int64_t queries(const configs::Config& c, const model::VisionConfig& v,
                     const MicroBatchShape& s) {
  const std::int64_t own = c.detection.num_queries * s.samples;
  return (c.detection.queries == configs::Queries::kProposals
              ? std::min(own, head_memory_tokens(c, v, s))
              : own) +
         2 * c.detection.denoising_groups * s.objects;
}

// The gated MLP keeps gate, its silu, up and their product; on a GPU silu and product are one
// kernel.
std::int64_t mlp_tensors(const configs::Config& c) { return on_gpu(c) ? 3 : 4; }

// A decoder layer keeps these elements per token: both norms' inputs and outputs (4 hidden), the
// rotated query, keys and values repeated for its heads, the mixture (4), and the MLP's. Flash
// attention, for 16 bits on a GPU, repeats nothing.
std::int64_t decoder_elements(const configs::Config& c, const model::TextConfig& t) {
  const bool flash = on_gpu(c) && element_bytes(c) == 2;
  const std::int64_t keys = flash ? t.num_kv_heads : t.num_heads;
  return 4 * t.hidden_size + 2 * (t.num_heads + keys) * t.head_dim +
         mlp_tensors(c) * t.intermediate_size;
}
// A vision block keeps the unrotated qkv, too: the values are a view of it.
std::int64_t vision_elements(const configs::Config& c, const model::VisionConfig& v) {
  return 10 * v.hidden_size + mlp_tensors(c) * v.intermediate_size;
}

// A gated MLP holds its three matrices for backward in a width that tensor cores take (VisionMlp).
std::int64_t padded_weights(const configs::Config& c, const model::VisionConfig& v) {
  const std::int64_t width = model::tensor_core_width(v.intermediate_size);
  if (!on_gpu(c) || element_bytes(c) == 4 || width == v.intermediate_size) return 0;
  return 3 * v.hidden_size * width;
}

std::int64_t vision_bytes(const configs::Config& c, const model::VisionConfig& v,
                          const MicroBatchShape& s) {
  if (!vision_trained(c)) return 0;  // a frozen tower keeps no activations
  const std::int64_t patches = s.vision_tokens * v.merge_unit(), block = vision_elements(c, v);
  const std::int64_t blocks =
      c.model.checkpoint_vision ? v.depth * v.hidden_size + block : v.depth * block;
  const std::int64_t merger = 5 * v.hidden_size;  // norm in and out, the MLP's two middles
  const std::int64_t weights = padded_weights(c, v) * (c.model.checkpoint_vision ? 1 : v.depth);
  return (patches * (blocks + merger + v.hidden_size) + weights) * element_bytes(c);
}

// Without answers the language model runs only for a head that attends to it.
bool language_runs(const configs::Config& c, const MicroBatchShape& s) {
  return s.labels > 0 || configs::language_always_runs(c.detection);
}

std::int64_t language_bytes(const configs::Config& c, const model::TextConfig& t,
                            const MicroBatchShape& s) {
  if (!language_runs(c, s)) return 0;
  const std::int64_t layer = decoder_elements(c, t);
  const std::int64_t layers =
      c.model.checkpoint_language ? t.num_layers * t.hidden_size + layer : t.num_layers * layer;
  return s.tokens * (layers + 4 * t.hidden_size) * element_bytes(c);
}

// Rows of the caption decoder: its tokens, or one a box where classes are told at once.
std::int64_t captions(const configs::Config& c, const MicroBatchShape& s) {
  return c.detection.labels == configs::Labels::kClosed ? s.objects : s.caption_tokens;
}

// A query keeps three norms, two attentions (query, mixture, their copies), positions and MLP in
// every layer; a memory token keeps two norms, projections, and keys and values of every layer, and
// what the neck's convolutions read. Where queries read boxes on a GPU, each keeps its points as
// keys and values.
std::int64_t head_bytes(const configs::Config& c, const model::VisionConfig& v,
                        const MicroBatchShape& s) {
  const configs::Detection& d = c.detection;
  if (!d.enabled) return 0;
  constexpr std::int64_t kSide = model::BoxAttention::kPointsPerSide;
  const bool boxes = d.cross_attention == configs::CrossAttention::kBoxes;
  const std::int64_t points = boxes && on_gpu(c) ? kSide * kSide * 2 * d.hidden_size : 0;
  const std::int64_t per_query = d.num_layers * (24 * d.hidden_size + 2 * d.mlp_size + points);
  const std::int64_t per_memory = 5 * d.hidden_size + d.num_layers * 2 * d.hidden_size +
                                  d.neck_layers * 4 * d.hidden_size +
                                  (d.one_to_many > 0 ? 4 * d.hidden_size : 0);
  const std::int64_t per_caption =
      d.caption_layers * (10 * d.hidden_size + 2 * d.mlp_size) + 4 * d.hidden_size;
  return (queries(c, v, s) * per_query + head_memory_tokens(c, v, s) * per_memory +
          captions(c, s) * per_caption) *
         element_bytes(c);
}

// Each cross-entropy leaves a gradient of its matrix until backward, and needs a chunk of logits
// while it runs: over the vocabulary, or the words that captions can say.
std::int64_t logits_bytes(const configs::Config& c, const model::TextConfig& t,
                          const MicroBatchShape& s) {
  const std::int64_t per_logit =
      element_bytes(c) + (on_gpu(c) ? 8 : 0);  // in place, or twice more in fp32
  std::int64_t kept = 0, peak = 0;
  const auto cross_entropy = [&](std::int64_t rows, std::int64_t chunk, std::int64_t words,
                                 bool matrix_trained) {
    if (rows == 0) return;
    const std::int64_t matrix = words * t.hidden_size * element_bytes(c);
    const bool summed =
        matrix_trained && rows > chunk && element_bytes(c) == 2;  // over chunks, in fp32
    peak = std::max(peak,
                    kept + (summed ? 2 * matrix : 0) + std::min(rows, chunk) * words * per_logit);
    kept += matrix_trained ? matrix : 0;
    peak = std::max(peak, kept);
  };
  const bool embedding_trained = c.groups.model.lr > 0 && !c.lora.enabled;
  cross_entropy(
      s.labels, c.model.logits_chunk_tokens, t.vocab_size,
      t.tie_word_embeddings ? embedding_trained : c.groups.lm_head.lr > 0 && !c.lora.enabled);
  if (c.detection.enabled && c.detection.labels == configs::Labels::kOpen)
    cross_entropy(s.caption_tokens, model::CaptionDecoder::kLogitsRows,
                  s.caption_words > 0 ? s.caption_words : t.vocab_size, embedding_trained);
  // The embedding's own gradient is dense.
  const std::int64_t embedding = t.vocab_size * t.hidden_size * element_bytes(c);
  return std::max(peak, kept + (embedding_trained ? embedding : 0));
}

std::int64_t input_bytes(const configs::Config& c, const model::VisionConfig& v,
                         const MicroBatchShape& s) {
  const std::int64_t pixels = s.vision_tokens * v.merge_unit() * v.patch_dim();
  // Micro-batches ahead wait on the host; the last of them goes beyond the limit.
  const std::int64_t ahead = on_gpu(c) ? 0 : c.data.prefetch_bytes + pixels * 4;
  return ahead + pixels * 4 + (element_bytes(c) == 4 ? 0 : pixels * element_bytes(c));
}

std::int64_t activation_total(const configs::Config& c, const model::QwenConfig& m,
                              const MicroBatchShape& s) {
  return estimate_activations(c, m, s).total();
}

}  // namespace

bool vision_trained(const configs::Config& config) {
  const configs::LoraTargets& targets = config.lora.targets;
  if (config.lora.enabled) return !targets.visual.empty() || !targets.merger.empty();
  return config.groups.visual.lr > 0 || config.groups.merger.lr > 0;
}

MicroBatchShape largest_allowed(const configs::Config& c) {
  MicroBatchShape shape;
  shape.samples = c.batch.max_samples;
  shape.tokens = c.batch.max_tokens;
  shape.vision_tokens =
      std::min(c.batch.max_vision_tokens, c.batch.max_samples * c.data.max_vision_tokens);
  shape.labels = c.data.answer == configs::Answer::kNone
                     ? 0
                     : shape.tokens - std::min(shape.tokens, shape.vision_tokens);
  constexpr std::int64_t kQueriesPerObject = 4;  // "several times the objects of a crowded image"
  shape.objects = c.detection.num_queries / kQueriesPerObject * shape.samples;
  shape.caption_tokens = shape.objects * (c.detection.caption_max_tokens + 1);
  return shape;
}

MicroBatchShape largest_in_pack(const configs::Config& config, const model::QwenConfig& model) {
  const data::Tokenizer tokenizer = trainer::checked_tokenizer(config, model);
  const data::SampleEncoder encoder(tokenizer, trainer::encode_options(config, model));
  const data::SampleSet set = trainer::open_training_set(config);
  const data::TrainingSamples samples = trainer::training_samples(config, set, encoder);
  const std::int64_t words = trainer::count_caption_words(set, tokenizer, config.detection);
  const data::Sampler sampler = trainer::training_sampler(config, model, samples, encoder, words);
  MicroBatchShape largest;
  for (const data::MicroBatchPlan& plan : sampler.epoch(0)) {
    const MicroBatchShape shape{static_cast<std::int64_t>(plan.samples.size()),
                                plan.tokens,
                                plan.vision_tokens,
                                plan.denominators.tokens,
                                plan.denominators.boxes,
                                plan.denominators.caption_tokens,
                                true,
                                words};
    if (activation_total(config, model, shape) > activation_total(config, model, largest))
      largest = shape;
  }
  return largest;
}

MicroBatchShape limited(MicroBatchShape shape, const configs::Config& config) {
  const MicroBatchShape most = largest_allowed(config);
  const auto part = [](std::int64_t limit, std::int64_t now) {
    return now > limit ? static_cast<double>(limit) / static_cast<double>(now) : 1.0;
  };
  const double kept = std::min({part(most.samples, shape.samples), part(most.tokens, shape.tokens),
                                part(most.vision_tokens, shape.vision_tokens)});
  for (std::int64_t* n : {&shape.samples, &shape.tokens, &shape.vision_tokens, &shape.labels,
                          &shape.objects, &shape.caption_tokens}) {
    *n = static_cast<std::int64_t>(std::ceil(kept * static_cast<double>(*n)));
  }
  return shape;
}

ActivationBytes estimate_activations(const configs::Config& config, const model::QwenConfig& model,
                                     const MicroBatchShape& shape) {
  return {.vision = vision_bytes(config, model.vision, shape),
          .language = language_bytes(config, model.text, shape),
          .head = head_bytes(config, model.vision, shape),
          .logits = logits_bytes(config, model.text, shape),
          .input = input_bytes(config, model.vision, shape)};
}

ForwardFlops forward_flops(const configs::Config& c, const model::QwenConfig& m,
                           const MicroBatchShape& s) {
  const model::MultiplyAdds work = model::multiply_adds(m);
  const auto twice = [](std::int64_t multiply_adds) {
    return 2.0 * static_cast<double>(multiply_adds);
  };
  const std::int64_t scores = work.token_pair * (s.tokens / std::max<std::int64_t>(s.samples, 1));
  const std::int64_t patches = s.vision_tokens * m.vision.merge_unit();
  const configs::Detection& d = c.detection;
  const std::int64_t query = d.num_layers * d.hidden_size * (10 * d.hidden_size + 2 * d.mlp_size);
  const std::int64_t memory = head_memory_tokens(c, m.vision, s);
  const std::int64_t neck =
      memory * d.neck_layers * 13 * d.hidden_size * d.hidden_size / 4;  // h h/2, 9 h/2 h/2, h/2 h
  ForwardFlops flops;
  flops.vision = twice(patches * work.patch + s.vision_tokens * work.merge);
  if (language_runs(c, s))
    flops.language = twice(s.tokens * (work.token + scores) + s.labels * work.logits);
  if (d.enabled) {
    flops.head = twice(queries(c, m.vision, s) * query +
                       memory * d.num_layers * 2 * d.hidden_size * d.hidden_size + neck +
                       (d.labels == configs::Labels::kOpen
                            ? s.caption_tokens * work.logits_over(s.caption_words)
                            : 0));
  }
  return flops;
}

}  // namespace muster::launcher
