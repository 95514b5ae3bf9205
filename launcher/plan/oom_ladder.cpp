#include "launcher/plan/oom_ladder.h"

#include <fmt/core.h>

#include <algorithm>

namespace muster::launcher {
namespace {

bool recomputes(const configs::Model& model) {
  return model.checkpoint_vision && model.checkpoint_language;
}

// Rounded down, so that a step never holds more samples than before: the place in the epoch stays
// within it.
bool halve(configs::Batch& batch, std::int64_t one_image) {
  if (batch.max_samples < 2 || batch.max_tokens / 2 < one_image) return false;
  batch.micro_batches_per_step *= 2;
  batch.max_samples /= 2;
  batch.max_tokens /= 2;
  batch.max_vision_tokens = std::max(batch.max_vision_tokens / 2, one_image);
  return true;
}

std::vector<std::string> batch_overrides(const configs::Batch& batch) {
  return {fmt::format("batch.micro_batches_per_step={}", batch.micro_batches_per_step),
          fmt::format("batch.max_tokens={}", batch.max_tokens),
          fmt::format("batch.max_vision_tokens={}", batch.max_vision_tokens),
          fmt::format("batch.max_samples={}", batch.max_samples)};
}

}  // namespace

std::vector<Rung> oom_ladder(const configs::Config& config) {
  std::vector<Rung> ladder;
  std::vector<std::string> overrides;
  if (!recomputes(config.model)) {
    overrides = {"model.checkpoint_vision=true", "model.checkpoint_language=true"};
    ladder.push_back(
        {"activations are recomputed in backward (model.checkpoint_vision, "
         "model.checkpoint_language)",
         overrides});
  }
  for (configs::Batch batch = config.batch; halve(batch, config.data.max_vision_tokens);) {
    Rung rung{
        fmt::format("batch.max_tokens {}, batch.max_vision_tokens {}, batch.max_samples {} with "
                    "batch.micro_batches_per_step {}",
                    batch.max_tokens, batch.max_vision_tokens, batch.max_samples,
                    batch.micro_batches_per_step),
        overrides};
    for (std::string& text : batch_overrides(batch)) rung.overrides.push_back(std::move(text));
    ladder.push_back(std::move(rung));
  }
  return ladder;
}

}  // namespace muster::launcher
