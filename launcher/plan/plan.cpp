#include "launcher/plan/plan.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/machine.h"
#include "configs/groups.h"
#include "model/head/detection_head.h"
#include "model/qwen/shapes.h"
#include "sharding/layout/flat_space.h"
#include "trainer/assembly/groups.h"
#include "trainer/assembly/learning.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/lora_run.h"

namespace muster::launcher {
namespace {

using Shapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

constexpr std::int64_t kMiB = 1 << 20, kGiB = 1 << 30;
constexpr std::int64_t kCpuProcess =
    170 * kMiB;  // LibTorch and MPI in a rank before its first tensor, measured
constexpr std::int64_t kGpuProcess = kGiB;  // CUDA context and NCCL's buffers
constexpr std::int64_t kGpuMemory = 80 * kGiB;

Shapes head_shapes(const model::HeadConfig& config, const model::QwenConfig& model) {
  Shapes shapes;
  model::DetectionHead(config, model::head_sizes(config, model), 0, 0, at::kFloat, at::kMeta)
      .visit("detection_head.", [&](const std::string& name, at::Tensor& t) {
        shapes.emplace_back(name, t.sizes().vec());
      });
  return shapes;
}

Shapes all_shapes(const configs::Config& config, const model::QwenConfig& model) {
  Shapes shapes = model::parameter_shapes(model);
  if (config.lora.enabled) {  // beside the layers in a run; here the order means nothing
    const model::LoraOptions lora = trainer::lora_setup(config, model).options(/*seed=*/0);
    const Shapes adapters = model::adapter_shapes(model, lora);
    shapes.insert(shapes.end(), adapters.begin(), adapters.end());
  }
  const Shapes head = head_shapes(trainer::head_config(config.detection), model);
  shapes.insert(shapes.end(), head.begin(), head.end());
  return shapes;
}

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return n;
}

std::vector<std::string> names_of(const Shapes& shapes) {
  std::vector<std::string> names;
  for (const auto& [name, shape] : shapes) names.push_back(name);
  return names;
}

struct Counted {
  std::vector<GroupCount> groups;
  std::vector<std::int64_t> trainable;  // elements, registration order
  std::int64_t frozen = 0;              // elements
  std::int64_t embedding = -1;          // index in `trainable`
};

Counted count_parameters(const configs::Config& config, const model::QwenConfig& model) {
  const auto rules = trainer::group_rules(config);
  const auto lrs = trainer::group_lrs(config.groups);
  Counted counted;
  for (std::size_t g = 0; g < rules.size(); ++g) {
    counted.groups.push_back(
        {.name = rules[g].name, .lr = lrs[g], .weight_decay = rules[g].weight_decay});
  }
  const Shapes shapes = all_shapes(config, model);
  const trainer::Learning learning(config, names_of(shapes));
  for (const auto& [name, shape] : shapes) {
    const configs::GroupEntry* entry = configs::group_of(name);
    if (entry == nullptr)
      throw ConfigError("parameter " + name + " belongs to no learning-rate group");
    const std::size_t g = configs::index_of(entry->id);
    GroupCount& group = counted.groups[g];
    ++group.tensors;
    group.elements += product(shape);
    if (rules[g].frozen || learning.frozen(name)) {
      counted.frozen += product(shape);
      continue;
    }
    if (name == "model.embed_tokens.weight")
      counted.embedding = static_cast<std::int64_t>(counted.trainable.size());
    counted.trainable.push_back(product(shape));
    group.trained += product(shape);
    group.least_factor = std::min(group.least_factor, learning.lr_factor(name));
  }
  return counted;
}

sharding::PlanInput engine_input(const configs::Config& config, const Counted& counted, int ranks) {
  sharding::PlanInput input;
  input.trainable_elements = sharding::flat_elements(counted.trainable);
  input.frozen_elements = counted.frozen;
  input.world_size = ranks;
  input.bucket_bytes = config.sharding.bucket_bytes;
  input.param_bytes = configs::dtype_bytes(config.model.dtype);
  input.wire_bytes = configs::dtype_bytes(config.sharding.wire_dtype);
  input.largest_parameter = counted.trainable.empty() ? 0 : std::ranges::max(counted.trainable);
  input.num_parameters = static_cast<std::int64_t>(counted.trainable.size());
  input.num_groups = static_cast<std::int64_t>(counted.groups.size());
  input.micro_batches_per_rank =
      std::max<std::int64_t>(1, config.batch.micro_batches_per_step / ranks);
  input.accumulation_budget_bytes = config.sharding.accumulation_budget_bytes;
  input.native_reduce = config.sharding.reduce == configs::Reduce::kNative;
  input.tree_reduce = config.sharding.reduce == configs::Reduce::kTree;
  input.ranks_per_node = std::max(1, static_cast<int>(config.launch.ranks_per_node));
  const sharding::EngineOptions options = trainer::engine_options(config);
  input.master = options.master;
  input.bf16_moments = options.bf16_moments;
  input.ema = options.ema.on();
  input.optimizer_on_host = config.run.device == configs::Device::kCuda &&
                            options.optimizer_device == sharding::OptimizerDevice::kHost;
  return input;
}

}  // namespace

double RunPlan::fill() const {
  const auto share = [](std::int64_t wanted, std::int64_t available) {
    return static_cast<double>(wanted) / static_cast<double>(std::max<std::int64_t>(available, 1));
  };
  const double here = share(total(), available_bytes);
  return host_available_bytes == 0 ? here
                                   : std::max(here, share(host_total(), host_available_bytes));
}

RunPlan make_plan(const configs::Config& config, const model::QwenConfig& model, int ranks,
                  const MicroBatchShape& shape, std::int64_t available_bytes) {
  const bool gpu = config.run.device == configs::Device::kCuda;
  Counted counted = count_parameters(config, model);
  RunPlan plan;
  plan.ranks = ranks;
  plan.memory = sharding::plan_memory(engine_input(config, counted, ranks));
  plan.shape = shape;
  plan.activations = estimate_activations(config, model, shape);
  if (gpu) plan.host_snapshot = std::exchange(plan.memory.transient.snapshot, 0);
  plan.process_bytes = gpu ? kGpuProcess : kCpuProcess;
  if (available_bytes <= 0)
    available_bytes = gpu ? kGpuMemory : this_machine().memory_bytes / ranks;
  plan.available_bytes = available_bytes;
  plan.trainable_elements = sharding::flat_elements(counted.trainable);
  plan.trainable_tensors = static_cast<std::int64_t>(counted.trainable.size());
  if (model.text.tie_word_embeddings &&
      counted.embedding >= 0) {  // later registered ones lie before it
    plan.tied_offset =
        sharding::flat_elements(std::span(counted.trainable).subspan(counted.embedding + 1));
  }
  plan.groups = std::move(counted.groups);
  return plan;
}

RunPlan make_plan(const configs::Config& config, const model::QwenConfig& model, int ranks) {
  return make_plan(config, model, ranks, largest_allowed(config));
}

}  // namespace muster::launcher
