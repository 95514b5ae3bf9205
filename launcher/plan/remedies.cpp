#include "launcher/plan/remedies.h"

#include <fmt/core.h>

#include <algorithm>
#include <variant>

#include "base/text.h"
#include "configs/fields.h"
#include "launcher/plan/activations.h"

namespace muster::launcher {
namespace {

// Every rung costs an attempt that fails: what helps little goes to its end at once.
constexpr std::int64_t kSmallestChunk = 256;       // rows of logits
constexpr std::int64_t kSmallestWindow = 8 << 20;  // bytes; smaller ones cost the wire's speed
constexpr std::int64_t kSmallestBatch = 1;         // samples

bool recomputes_vision(const MemorySetup& setup) {
  return !vision_trained(setup.config) || setup.config.model.checkpoint_vision;
}

bool can_halve(const MemorySetup& setup) {
  const configs::Batch& batch = setup.config.batch;
  return batch.max_samples > kSmallestBatch &&
         batch.max_tokens / 2 >= setup.config.data.max_vision_tokens;
}

// Limits are rounded down. One image must still fit.
void halve(MemorySetup& setup) {
  configs::Batch& batch = setup.config.batch;
  batch.micro_batches_per_step *= 2;
  batch.max_samples /= 2;
  batch.max_tokens /= 2;
  batch.max_vision_tokens =
      std::max(batch.max_vision_tokens / 2, setup.config.data.max_vision_tokens);
}

// Adapters stand in groups that learn.
bool can_adapt(const MemorySetup& setup) {
  const configs::Groups& g = setup.config.groups;
  const configs::LoraTargets& targets = setup.config.lora.targets;
  const bool some = !targets.model.empty() || !targets.visual.empty() || !targets.merger.empty();
  return !setup.config.lora.enabled && some && (targets.model.empty() || g.model.lr > 0) &&
         (targets.visual.empty() || g.visual.lr > 0) && (targets.merger.empty() || g.merger.lr > 0);
}

// Something must be left to train.
bool can_freeze_language(const MemorySetup& setup) {
  const configs::Groups& g = setup.config.groups;
  const bool head_learns = setup.config.detection.enabled && g.detection_head.lr > 0;
  return !setup.config.lora.enabled && g.model.lr > 0 &&
         (head_learns || g.merger.lr > 0 || g.visual.lr > 0);
}

std::vector<MemoryRemedy> smaller_portions() {
  return {{"recompute the language model's activations: a third more time in it",
           Keeps::kBits,
           {"model.checkpoint_language"},
           [](const MemorySetup& s) { return !s.config.model.checkpoint_language; },
           [](MemorySetup& s) { s.config.model.checkpoint_language = true; }},
          {"recompute the vision tower's",
           Keeps::kBits,
           {"model.checkpoint_vision"},
           [](const MemorySetup& s) { return !recomputes_vision(s); },
           [](MemorySetup& s) { s.config.model.checkpoint_vision = true; }},
          {"smaller chunks of logits, same result",
           Keeps::kMathematics,
           {"model.logits_chunk_tokens"},
           [](const MemorySetup& s) { return s.config.model.logits_chunk_tokens > kSmallestChunk; },
           [](MemorySetup& s) { s.config.model.logits_chunk_tokens = kSmallestChunk; }},
          {"half the micro-batch, twice as many",
           Keeps::kMathematics,
           {"batch.micro_batches_per_step", "batch.max_tokens", "batch.max_vision_tokens",
            "batch.max_samples"},
           can_halve,
           halve},
          {"smaller windows, same bits",
           Keeps::kBits,
           {"sharding.bucket_bytes"},
           [](const MemorySetup& s) { return s.config.sharding.bucket_bytes > kSmallestWindow; },
           [](MemorySetup& s) { s.config.sharding.bucket_bytes = kSmallestWindow; }},
          {"masters split into the weight and its low half, same bits",
           Keeps::kBits,
           {"optimizer.master"},
           [](const MemorySetup& s) {
             return s.config.model.dtype == configs::Dtype::kBf16 &&
                    s.config.optimizer.master == configs::Master::kFp32;
           },
           [](MemorySetup& s) { s.config.optimizer.master = configs::Master::kSplit; }},
          {"moments and masters in host memory, same bits; steps wait for PCIe and the CPU",
           Keeps::kBits,
           {"sharding.optimizer_device"},
           [](const MemorySetup& s) {
             return s.config.run.device == configs::Device::kCuda &&
                    s.config.sharding.optimizer_device == configs::OptimizerDevice::kDevice;
           },
           [](MemorySetup& s) {
             s.config.sharding.optimizer_device = configs::OptimizerDevice::kCpu;
           }}};
}

std::vector<MemoryRemedy> last_resorts() {
  return {
      {"bf16 weights with fp32 masters: other bits",
       Keeps::kNothing,
       {"model.dtype", "sharding.wire_dtype"},
       [](const MemorySetup& s) { return s.config.model.dtype == configs::Dtype::kFp32; },
       [](MemorySetup& s) {
         s.config.model.dtype = configs::Dtype::kBf16;
         s.config.sharding.wire_dtype = configs::Dtype::kBf16;
       }},
      {"bf16 moments, rounded at random: other bits",
       Keeps::kNothing,
       {"optimizer.moments", "optimizer.rounding"},
       [](const MemorySetup& s) { return s.config.optimizer.moments == configs::Dtype::kFp32; },
       [](MemorySetup& s) {
         s.config.optimizer.moments = configs::Dtype::kBf16;
         s.config.optimizer.rounding = configs::Rounding::kStochastic;
       }},
      {"more ranks hold smaller shards",
       Keeps::kBits,
       {},
       [](const MemorySetup& s) {
         return s.config.run.device == configs::Device::kCuda &&
                s.config.batch.micro_batches_per_step % (2 * s.ranks) == 0;
       },
       [](MemorySetup& s) { s.ranks *= 2; }},
      {"the vision tower stays as it is; the merger learns",
       Keeps::kNothing,
       {"groups.visual.lr"},
       [](const MemorySetup& s) { return s.config.groups.visual.lr > 0 && !s.config.lora.enabled; },
       [](MemorySetup& s) { s.config.groups.visual.lr = 0; }},
      {"LoRA: every weight stays as it is, adapters of lora.rank and the head learn",
       Keeps::kNothing,
       {"lora.enabled"},
       can_adapt,
       [](MemorySetup& s) { s.config.lora.enabled = true; }},
      {"the language model stays as it is",
       Keeps::kNothing,
       {"groups.model.lr", "groups.lm_head.lr"},
       can_freeze_language,
       [](MemorySetup& s) {
         s.config.groups.model.lr = 0;
         s.config.groups.lm_head.lr = 0;
       }}};
}

std::string setting(const char* key, const configs::Config& config) {
  const configs::Value value = configs::find_field(key)->get(config);
  if (const auto* number = std::get_if<std::int64_t>(&value))
    return fmt::format("{}={}", key, *number);
  if (const auto* fraction = std::get_if<double>(&value))
    return fmt::format("{}={}", key, *fraction);
  if (const auto* flag = std::get_if<bool>(&value)) return fmt::format("{}={}", key, *flag);
  return fmt::format("{}={}", key, std::get<std::string>(value));
}

}  // namespace

const std::vector<MemoryRemedy>& memory_remedies() {
  static const std::vector<MemoryRemedy> all = [] {
    std::vector<MemoryRemedy> list = smaller_portions();
    for (MemoryRemedy& remedy : last_resorts()) list.push_back(std::move(remedy));
    return list;
  }();
  return all;
}

std::size_t num_ladder_remedies() {
  const std::vector<MemoryRemedy>& all = memory_remedies();
  const auto first_loss = std::ranges::find(all, Keeps::kNothing, &MemoryRemedy::keeps);
  return static_cast<std::size_t>(first_loss - all.begin());
}

std::vector<std::string> settings_of(const MemoryRemedy& remedy, const MemorySetup& setup) {
  std::vector<std::string> settings;
  for (const char* key : remedy.keys) settings.push_back(setting(key, setup.config));
  return settings;
}

std::vector<Rung> oom_ladder(const configs::Config& config) {
  std::vector<Rung> ladder;
  std::vector<const char*> changed;  // keys, each once
  MemorySetup setup{config};
  bool keeps_bits = true;
  for (std::size_t i = 0; i < num_ladder_remedies(); ++i) {
    const MemoryRemedy& remedy = memory_remedies()[i];
    if (remedy.applies(setup))
      changed.insert(changed.end(), remedy.keys.begin(), remedy.keys.end());
    while (remedy.applies(setup)) {
      remedy.apply(setup);
      keeps_bits = keeps_bits && remedy.keeps == Keeps::kBits;
      Rung& rung = ladder.emplace_back();
      rung.keeps_bits = keeps_bits;
      rung.what = fmt::format("{} ({})", remedy.what, join(settings_of(remedy, setup), ", "));
      for (const char* key : changed) rung.overrides.push_back(setting(key, setup.config));
      rung.reorders_data = std::ranges::any_of(changed, [](const char* key) {
        return configs::find_field(key)->resume == configs::Resume::kEpoch;
      });
    }
  }
  return ladder;
}

}  // namespace muster::launcher
