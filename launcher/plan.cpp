#include "launcher/plan.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "launcher/preflight.h"
#include "model/detection_head.h"
#include "model/shapes.h"
#include "trainer/from_config.h"

namespace muster::launcher {
namespace {

using Shapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

// The head is small enough to be made for its shapes.
Shapes head_shapes(const model::HeadConfig& config, const model::QwenConfig& model) {
  Shapes shapes;
  model::DetectionHead(config, model.text.hidden_size, 0, 0, at::kFloat, at::kCPU)
      .visit("detection_head.",
             [&](const std::string& name, at::Tensor& t) { shapes.emplace_back(name, t.sizes().vec()); });
  return shapes;
}

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return n;
}

int dtype_bytes(const std::string& dtype) { return dtype == "fp32" ? 4 : 2; }

// What autograd keeps per token of one transformer block without recomputation, in units of hidden_size elements: block
// input, norm, q/k/v, attention output, two residuals, and the MLP's gate, up and product. With recomputation: the
// input.
std::int64_t block_elements(std::int64_t hidden, std::int64_t mlp, bool recomputed) {
  return recomputed ? hidden : 8 * hidden + 3 * mlp;
}

std::int64_t estimate_activations(const configs::Config& config, const model::QwenConfig& m) {
  const std::int64_t bytes = dtype_bytes(config.model.dtype);
  const std::int64_t patches = config.batch.max_vision_tokens * m.vision.merge_unit();
  const std::int64_t vision =
      patches * m.vision.depth *
      block_elements(m.vision.hidden_size, m.vision.intermediate_size, config.model.checkpoint_vision);
  const std::int64_t language =
      config.batch.max_tokens * m.text.num_layers *
      block_elements(m.text.hidden_size, m.text.intermediate_size, config.model.checkpoint_language);
  const std::int64_t logits =
      3 * config.model.logits_chunk_tokens * m.text.vocab_size * 4;  // fp32: logits, softmax, gradient
  return (vision + language) * bytes + logits;
}

}  // namespace

RunPlan make_plan(const configs::Config& config, const model::QwenConfig& model, int ranks) {
  RunPlan plan;
  const auto rules = trainer::group_rules(config);
  const auto lrs = trainer::group_lrs(config.groups);
  for (std::size_t g = 0; g < rules.size(); ++g) {
    plan.groups.push_back({rules[g].name, 0, 0, lrs[g], rules[g].weight_decay});
  }
  Shapes shapes = model::parameter_shapes(model);
  const Shapes head = head_shapes(trainer::head_config(config.detection), model);
  shapes.insert(shapes.end(), head.begin(), head.end());
  std::vector<std::int64_t> trainable;
  std::int64_t frozen = 0;
  for (const auto& [name, shape] : shapes) {
    const auto rule =
        std::find_if(rules.begin(), rules.end(), [&](const auto& r) { return name.starts_with(r.prefixes[0]); });
    if (rule == rules.end()) throw ConfigError("parameter " + name + " belongs to no learning-rate group");
    GroupCount& group = plan.groups[rule - rules.begin()];
    ++group.tensors;
    group.elements += product(shape);
    if (rule->frozen)
      frozen += product(shape);
    else
      trainable.push_back(product(shape));
  }
  sharding::PlanInput input;
  input.trainable_elements = sharding::flat_elements(trainable);
  input.frozen_elements = frozen;
  input.world_size = ranks;
  input.bucket_bytes = config.sharding.bucket_bytes;
  input.param_bytes = dtype_bytes(config.model.dtype);
  input.wire_bytes = dtype_bytes(config.sharding.wire_dtype);
  input.micro_batches_per_rank = config.batch.micro_batches_per_step / ranks;
  input.accumulation_budget_bytes = config.sharding.accumulation_budget_bytes;
  input.native_reduce = config.sharding.reduce == "native";
  const sharding::EngineOptions options = trainer::engine_options(config);
  input.master = options.master;
  input.bf16_moments = options.bf16_moments;
  plan.memory = sharding::plan_memory(input);
  plan.activation_bytes = estimate_activations(config, model);
  plan.available_bytes = this_machine().memory_bytes;
  return plan;
}

std::string memory_table(const RunPlan& plan) {
  std::string text;
  const auto row = [&](const char* what, std::int64_t bytes) {
    text += fmt::format("  {:<28}{:>12}\n", what, human_bytes(bytes));
  };
  const sharding::EngineBytes& b = plan.memory.bytes;
  row("parameters", b.parameters);
  row("frozen parameters", plan.memory.frozen_parameters);
  row("gradient shard (fp32)", b.gradient_shard);
  row("master shard", b.master);
  row("moments shard", b.moments);
  row("local accumulation (fp32)", b.accumulation);
  row("staging of the reduction", b.staging);
  row("activations, estimated", plan.activation_bytes);
  row("total", plan.rank_bytes());
  return text;
}

std::string format_plan(const RunPlan& plan, const configs::Config& config, int ranks) {
  std::string text =
      fmt::format("{:<16}{:>9}{:>16}{:>12}{:>14}\n", "group", "tensors", "elements", "lr", "weight decay");
  for (const GroupCount& g : plan.groups) {
    text += fmt::format("{:<16}{:>9}{:>16}{:>12.3g}{:>14.3g}{}\n", g.name, g.tensors, g.elements, g.lr, g.weight_decay,
                        g.lr == 0 ? "  frozen: no gradient, no state, no traffic" : "");
  }
  const std::int64_t total = plan.rank_bytes();
  text += fmt::format("\nbytes per rank, {} ranks, {} weights:\n", ranks, config.model.dtype);
  text += memory_table(plan);
  text += fmt::format("traffic per step and rank: {} of gradients out, {} of parameters out\n",
                      human_bytes(plan.memory.reduce_bytes_per_step), human_bytes(plan.memory.gather_bytes_per_step));
  if (config.run.device == "cpu" && total * ranks > plan.available_bytes) {
    text += fmt::format(
        "does NOT fit: {} ranks on this machine want {}, {} are available. Use more nodes, bf16 weights "
        "(model.dtype), smaller batch.max_tokens, or model.checkpoint_language: true\n",
        ranks, human_bytes(total * ranks), human_bytes(plan.available_bytes));
  } else if (config.run.device == "cpu") {
    text += fmt::format("fits: {} ranks on this machine want {}, {} are available\n", ranks, human_bytes(total * ranks),
                        human_bytes(plan.available_bytes));
  }
  return text;
}

}  // namespace muster::launcher
