// What to change when a run does not fit: changes that keep the mathematics first, then those that
// cost precision, then more machines. Each is planned again before it is named.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/text.h"
#include "launcher/plan/plan.h"

namespace muster::launcher {
namespace {

// Changes a config (or the number of ranks), or says that it cannot. May be tried repeatedly.
struct Candidate {
  const char* why;
  std::function<std::string(configs::Config&, int& ranks)>
      apply;  // returns what was set, "" when it does not apply
};

std::string halve_batch(configs::Config& c, int&) {
  const std::int64_t tokens = c.batch.max_tokens / 2, vision = c.batch.max_vision_tokens / 2;
  if (c.batch.max_samples == 1 || vision < c.data.max_vision_tokens || tokens < 2 * vision)
    return "";
  c.batch.max_tokens = tokens;
  c.batch.max_vision_tokens = vision;
  c.batch.micro_batches_per_step *= 2;
  return fmt::format(
      "batch.max_tokens={} --set batch.max_vision_tokens={} --set batch.micro_batches_per_step={}",
      tokens, vision, c.batch.micro_batches_per_step);
}

std::string more_ranks(configs::Config& c, int& ranks) {
  if (c.run.device != configs::Device::kCuda || c.batch.micro_batches_per_step % (2 * ranks) != 0)
    return "";
  ranks *= 2;
  return fmt::format("--ranks {}", ranks);
}

std::vector<Candidate> candidates() {
  const auto turn_on = [](const char* key, bool configs::Model::*member) {
    return [=](configs::Config& c, int&) -> std::string {
      return std::exchange(c.model.*member, true) ? "" : fmt::format("model.{}=true", key);
    };
  };
  return {{"recompute the language model's activations: a third more time in it",
           turn_on("checkpoint_language", &configs::Model::checkpoint_language)},
          {"recompute the vision tower's",
           turn_on("checkpoint_vision", &configs::Model::checkpoint_vision)},
          {"smaller chunks of logits, same result",
           [](configs::Config& c, int&) -> std::string {
             if (c.model.logits_chunk_tokens <= 256) return "";
             return fmt::format("model.logits_chunk_tokens={}", c.model.logits_chunk_tokens /= 2);
           }},
          {"smaller windows, same bits",
           [](configs::Config& c, int&) -> std::string {
             if (c.sharding.bucket_bytes <= 8 << 20) return "";
             return fmt::format("sharding.bucket_bytes={}", c.sharding.bucket_bytes /= 2);
           }},
          {"half the micro-batch, twice as many", halve_batch},
          {"masters split into the weight and its low half, same bits",
           [](configs::Config& c, int&) -> std::string {
             if (c.model.dtype != configs::Dtype::kBf16) return "";
             if (c.optimizer.master != configs::Master::kFp32) return "";
             c.optimizer.master = configs::Master::kSplit;
             return "optimizer.master=split";
           }},
          {"bf16 weights with fp32 masters: other bits",
           [](configs::Config& c, int&) -> std::string {
             if (c.model.dtype != configs::Dtype::kFp32) return "";
             c.model.dtype = configs::Dtype::kBf16;
             c.sharding.wire_dtype = configs::Dtype::kBf16;
             return "model.dtype=bf16 --set sharding.wire_dtype=bf16";
           }},
          {"more ranks hold smaller shards", more_ranks}};
}

// Candidates by index, in the order they are applied; one may come several times.
using Sequence = std::vector<std::size_t>;

struct Outcome {
  std::vector<PlannedChange> changes;  // one per candidate, as set last
  RunPlan plan;
  bool applicable = true;
};

Outcome apply_all(const Sequence& sequence, const std::vector<Candidate>& all,
                  const configs::Config& config, const model::QwenConfig& model,
                  const RunPlan& start) {
  configs::Config now = config;
  Outcome outcome{{}, start, true};
  int ranks = start.ranks;
  for (const std::size_t index : sequence) {
    const std::string set = all[index].apply(now, ranks);
    if (set.empty()) return {{}, start, false};
    outcome.plan = make_plan(now, model, ranks, limited(start.shape, now), start.available_bytes);
    const bool again = !outcome.changes.empty() && outcome.changes.back().why == all[index].why;
    if (again) outcome.changes.pop_back();
    outcome.changes.push_back({set, all[index].why, outcome.plan.total()});
  }
  return outcome;
}

// Takes what helps by at least a hundredth until it fits.
Sequence take_helpful(const std::vector<Candidate>& all, const configs::Config& config,
                      const model::QwenConfig& model, const RunPlan& start) {
  Sequence taken;
  std::int64_t best = start.total();
  for (std::size_t index = 0; index < all.size(); ++index) {
    while (best > start.available_bytes) {
      taken.push_back(index);
      const Outcome outcome = apply_all(taken, all, config, model, start);
      if (!outcome.applicable || outcome.plan.total() > best - best / 100) {
        taken.pop_back();
        break;
      }
      best = outcome.plan.total();
    }
  }
  return taken;
}

// Without what the later ones made unnecessary.
Sequence prune(Sequence taken, const std::vector<Candidate>& all, const configs::Config& config,
               const model::QwenConfig& model, const RunPlan& start) {
  for (std::size_t i = 0; i < taken.size();) {
    Sequence without;
    for (std::size_t k = 0; k < taken.size(); ++k) {
      if (k != i) without.push_back(taken[k]);
    }
    const Outcome outcome = apply_all(without, all, config, model, start);
    if (outcome.applicable && outcome.plan.fits())
      taken = without;
    else
      ++i;
  }
  return taken;
}

}  // namespace

Advice advise(const configs::Config& config, const model::QwenConfig& model, const RunPlan& plan) {
  if (plan.fits()) return {{}, true};
  const std::vector<Candidate> all = candidates();
  const Sequence taken = prune(take_helpful(all, config, model, plan), all, config, model, plan);
  Outcome outcome = apply_all(taken, all, config, model, plan);
  return {std::move(outcome.changes), outcome.plan.fits()};
}

}  // namespace muster::launcher
