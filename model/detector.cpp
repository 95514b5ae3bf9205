#include "model/detector.h"

#include <ATen/core/grad_mode.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "model/head/boxes.h"
#include "model/head/detection_head.h"
#include "model/head/files.h"
#include "model/head/matcher.h"
#include "model/qwen/upload.h"

namespace muster::model {

namespace {

// What the head looks at.
struct HeadInputs {
  at::Tensor vision;    // [tokens, hidden], in image order: merged tokens, or patches
  at::Tensor language;  // likewise; undefined unless the head uses the LM's states
  TokenLayout layout;
};

// The merged token that each patch of `patches` becomes a part of.
std::vector<std::int64_t> merged_token_of(const TokenLayout& patches, std::int64_t merge_size) {
  std::vector<std::int64_t> tokens;
  std::int64_t first = 0;
  for (std::int64_t image = 0; image < patches.images(); ++image) {
    const std::int64_t columns = patches.columns[image];
    for (std::int64_t i = 0; i < patches.counts[image]; ++i)
      tokens.push_back(first + i / columns / merge_size * (columns / merge_size) +
                       i % columns / merge_size);
    first += patches.counts[image] / (merge_size * merge_size);
  }
  return tokens;
}

// Rows of the tokens of the images `wanted`; counts: tokens per image.
std::vector<std::int64_t> token_rows(const std::vector<std::int64_t>& counts,
                                     const std::vector<std::int64_t>& wanted) {
  std::vector<std::int64_t> first{0};
  for (const std::int64_t count : counts) first.push_back(first.back() + count);
  std::vector<std::int64_t> rows;
  for (const std::int64_t image : wanted)
    for (std::int64_t row = first[image]; row < first[image + 1]; ++row) rows.push_back(row);
  return rows;
}

}  // namespace

struct Detector::Impl {
  QwenVL backbone;
  HeadConfig config;
  DetectionHead head;
  ForwardGate gate;
  bool training = true;

  bool needs_language(const MicroBatch& batch) const {
    return config.use_language ||
           (batch.labels.defined() && batch.labels.ne(kIgnoreLabel).any().item<bool>());
  }

  // Without language only the vision tower runs.
  QwenOutput run_backbone(const MicroBatch& batch) const {
    if (!batch.pixel_values.defined() || needs_language(batch)) return backbone.forward(batch);
    return backbone.vision(batch.pixel_values, batch.grid_thw);
  }

  HeadOutput run_head(const HeadInputs& inputs, const DenoisingQueries& denoising) const {
    if (gate) gate("detection_head.");
    return head.forward(inputs.vision, inputs.language, inputs.layout, denoising);
  }

  HeadInputs all_pictures(const MicroBatch& batch, const QwenOutput& seen) const {
    HeadInputs inputs{
        config.use_patches ? seen.image_patches : seen.image_embeds, {}, layout(batch.grid_thw)};
    if (!config.use_language) return inputs;
    at::Tensor places = batch.input_ids.eq(backbone.config().image_token_id).nonzero().squeeze(1);
    if (config.use_patches) {
      const std::int64_t merge_size = backbone.config().vision.spatial_merge_size;
      places = places.index_select(0, at::tensor(merged_token_of(inputs.layout, merge_size)));
    }
    inputs.language = seen.hidden.index_select(0, upload(places, seen.hidden.device()));
    return inputs;
  }

  // The pictures whose numbers are given, in that order.
  HeadInputs some_pictures(const MicroBatch& batch, const QwenOutput& seen,
                           const std::vector<std::int64_t>& wanted) const {
    HeadInputs inputs = all_pictures(batch, seen);
    if (static_cast<std::int64_t>(wanted.size()) == batch.grid_thw.size(0)) return inputs;
    const at::Tensor rows =
        upload(token_rows(inputs.layout.counts, wanted), inputs.vision.device());
    inputs.vision = inputs.vision.index_select(0, rows);
    if (config.use_language) inputs.language = inputs.language.index_select(0, rows);
    inputs.layout = layout(batch.grid_thw.index_select(0, at::tensor(wanted, at::kLong)));
    return inputs;
  }

  TokenLayout layout(const at::Tensor& grid_thw) const {
    return token_layout(grid_thw,
                        config.use_patches ? 1 : backbone.config().vision.spatial_merge_size);
  }

  // Pictures whose objects are known, and what they are.
  struct Annotated {
    std::vector<std::int64_t> images;
    std::vector<ImageTargets> targets;
  };
  static Annotated annotated_pictures(const MicroBatch& batch, const HeadLossOptions& options) {
    Annotated annotated;
    if (!batch.pixel_values.defined() || !options.detection) return annotated;
    TORCH_CHECK(static_cast<std::int64_t>(batch.targets.size()) == batch.grid_thw.size(0),
                "Detector::loss: ", batch.targets.size(), " targets for ", batch.grid_thw.size(0),
                " images");
    for (std::size_t image = 0; image < batch.targets.size(); ++image) {
      if (!batch.targets[image].annotated) continue;
      annotated.images.push_back(static_cast<std::int64_t>(image));
      annotated.targets.push_back(batch.targets[image]);
    }
    return annotated;
  }

  std::vector<LossTerm> loss(
      const MicroBatch& batch, const HeadLossOptions& options,
      const std::function<DenoisingQueries(const std::vector<ImageTargets>&)>& denoise) const {
    const QwenOutput seen = run_backbone(batch);
    std::vector<LossTerm> terms;
    const auto add_language = [&, graph = at::GradMode::is_enabled()] {
      const at::AutoGradMode as_before(graph);  // a head at rest has none
      if (batch.labels.defined() && seen.hidden.defined())
        terms.push_back({"lm", backbone.lm_loss_sum(seen.hidden, batch, seen.tied),
                         LossTerm::Denominator::kTokens});
    };
    const Annotated annotated = annotated_pictures(batch, options);
    if (annotated.targets.empty()) {
      add_language();
      return terms;
    }
    const DenoisingQueries denoising = denoise(annotated.targets);
    const at::AutoGradMode with_graph(!options.frozen && at::GradMode::is_enabled());
    const HeadOutput output = run_head(some_pictures(batch, seen, annotated.images), denoising);
    for (LossTerm& term : head.loss(output, annotated.targets, denoising, options,
                                    backbone.token_embedding(), add_language))
      terms.push_back(std::move(term));
    return terms;
  }
};

namespace {

// The box is xyxy in stored pixels, cut at the image's edges.
std::array<float, 4> pixel_box(const Box& box, const std::array<std::int64_t, 2>& size) {
  Box corners = cxcywh_to_xyxy(box);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto side = static_cast<float>(size[i % 2]);
    corners[i] = std::clamp(corners[i] * side, 0.0f, side);
  }
  return corners;
}

void sort_by_score(std::vector<Detection>& detections) {
  std::stable_sort(detections.begin(), detections.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
}

// Rows of [images * queries] that are no padding.
std::vector<std::int64_t> real_rows(const HeadOutput& output) {
  std::vector<std::int64_t> rows;
  for (std::size_t image = 0; image < output.counts.size(); ++image) {
    for (std::int64_t query = 0; query < output.counts[image]; ++query) {
      rows.push_back(static_cast<std::int64_t>(image) * output.queries + query);
    }
  }
  return rows;
}

}  // namespace

Detector::Detector() = default;
Detector::~Detector() = default;
Detector::Detector(Detector&&) noexcept = default;

Detector Detector::create(QwenVL backbone, const HeadConfig& head, std::int64_t caption_end_token,
                          std::uint64_t seed) {
  const at::Tensor& embedding = backbone.token_embedding();
  DetectionHead made(head, head_sizes(head, backbone.config()), caption_end_token, seed,
                     embedding.scalar_type(), embedding.device());
  Detector detector;
  detector.impl_ = std::make_unique<Impl>(Impl{std::move(backbone), head, std::move(made), {}});
  return detector;
}

std::vector<LossTerm> Detector::loss(const MicroBatch& batch, const HeadLossOptions& options,
                                     std::uint64_t noise_seed) const {
  TORCH_CHECK(impl_->training, "Detector::loss in evaluation mode: call set_training(true) first");
  impl_->backbone.set_dropout(noise_seed);
  return impl_->loss(batch, options, [&](const std::vector<ImageTargets>& targets) {
    return make_denoising(targets, impl_->config.denoising_groups,
                          impl_->config.denoising_box_noise, noise_seed);
  });
}

std::vector<LossTerm> Detector::validation_loss(const MicroBatch& batch,
                                                const HeadLossOptions& options) const {
  TORCH_CHECK(!impl_->training,
              "Detector::validation_loss in training mode: call set_training(false) first");
  const at::NoGradGuard no_grad;
  return impl_->loss(batch, options,
                     [](const std::vector<ImageTargets>&) { return DenoisingQueries{}; });
}

std::vector<std::vector<Detection>> Detector::detect(const MicroBatch& batch) const {
  TORCH_CHECK(!impl_->training,
              "Detector::detect in training mode: call set_training(false) first");
  TORCH_CHECK(batch.pixel_values.defined(), "Detector::detect: the batch has no image");
  TORCH_CHECK(static_cast<std::int64_t>(batch.image_sizes.size()) == batch.grid_thw.size(0),
              "Detector::detect: ", batch.image_sizes.size(), " image sizes for ",
              batch.grid_thw.size(0), " images");
  const at::NoGradGuard no_grad;
  const HeadOutput output =
      impl_->run_head(impl_->all_pictures(batch, impl_->run_backbone(batch)), {});
  const LayerOutput& last = output.layers.back();
  const std::vector<std::int64_t> rows = real_rows(output);
  const at::Tensor states =
      last.states.flatten(0, 1).index_select(0, upload(rows, last.states.device()));
  const std::vector<DecodedCaption> captions =
      impl_->head.likeliest_captions(states, impl_->backbone.token_embedding());
  const at::Tensor boxes = last.boxes.cpu().contiguous();
  const at::Tensor scores = last.logits.sigmoid().cpu().contiguous();

  std::vector<std::vector<Detection>> images(batch.image_sizes.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float* box = boxes.const_data_ptr<float>() + 4 * rows[i];
    const auto image = static_cast<std::size_t>(rows[i] / output.queries);
    const auto caption_probability = static_cast<float>(std::exp(captions[i].log_probability));
    images[image].push_back({pixel_box({box[0], box[1], box[2], box[3]}, batch.image_sizes[image]),
                             scores.const_data_ptr<float>()[rows[i]] * caption_probability,
                             captions[i].ids});
  }
  for (std::vector<Detection>& detections : images) sort_by_score(detections);
  return images;
}

std::vector<NamedParam> Detector::parameters() const {
  std::vector<NamedParam> all = impl_->backbone.parameters();
  for (NamedParam& param : head_parameters()) all.push_back(std::move(param));
  return all;
}

std::vector<NamedParam> Detector::head_parameters() const {
  std::vector<NamedParam> params;
  impl_->head.visit("detection_head.", [&](const std::string& name, at::Tensor& tensor) {
    params.push_back({name, tensor});
  });
  return params;
}

const QwenVL& Detector::backbone() const { return impl_->backbone; }
const HeadConfig& Detector::head_config() const { return impl_->config; }
void Detector::set_training(bool training) {
  impl_->training = training;
  // What the last step dropped is of no concern to who evaluates, or uses the backbone by itself.
  if (!training) impl_->backbone.set_dropout(std::nullopt);
}
bool Detector::training() const { return impl_->training; }

void Detector::set_forward_gate(ForwardGate gate) {
  impl_->gate = gate;
  impl_->backbone.set_forward_gate(std::move(gate));
}

void Detector::save_head(const std::filesystem::path& file) const {
  model::save_head(file, head_parameters(), head_config());
}

void Detector::load_head(const std::filesystem::path& file) {
  model::load_head(file, head_parameters(), head_config());
}

}  // namespace muster::model
