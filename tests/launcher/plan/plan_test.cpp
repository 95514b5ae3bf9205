#include "launcher/plan/plan.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "launcher/plan/advice.h"
#include "launcher/plan/picture.h"
#include "launcher/plan/simulation.h"
#include "launcher/plan/text.h"
#include "model/qwen/shapes.h"
#include "sharding/engine.h"
#include "sharding/tensor_meter.h"
#include "support/test_paths.h"
#include "trainer/assembly/groups.h"
#include "trainer/assembly/learning.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/lora_run.h"
#include "trainer/step_totals.h"

using namespace muster;
using namespace muster::launcher;
using namespace muster::test;

namespace {

configs::Config base_config(const std::vector<std::string>& overrides = {}) {
  std::vector<std::string> set = {"run.dir=/x", "model.path=/x", "tokens.tokenizer=/x",
                                  "data.train=/x", "data.val=/x"};
  set.insert(set.end(), overrides.begin(), overrides.end());
  return configs::load(source_dir() / "configs/base.yaml", set);
}

model::QwenConfig small_model() {
  return model::read_config(source_dir() / "configs/models/bccd_small");
}

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

// The published 7B with a sixteenth of each width and a seventh of the layers.
model::QwenConfig scaled_7b() {
  model::QwenConfig model = model::read_config(shared("golden/published_configs/7b.json"));
  for (std::int64_t* width :
       {&model.vision.hidden_size, &model.vision.intermediate_size, &model.vision.out_hidden_size,
        &model.text.vocab_size, &model.text.hidden_size, &model.text.intermediate_size,
        &model.text.head_dim})
    *width /= 16;
  model.text.num_layers /= 7;
  model.vision.depth /= 7;
  return model;
}

// What an engine held while it trained a model as a config says: its parameters on the CPU, which
// count as on a device of their own.
struct HeldByEngine {
  sharding::EngineBytes between_steps;
  sharding::TransientBytes transient;
  std::int64_t frozen = 0;              // parameters
  std::int64_t snapshot = 0, peak = 0;  // the peak is of all tensors, without the snapshot
};

std::vector<sharding::NamedTensor> tensors_of(const configs::Config& config,
                                              const model::QwenConfig& model) {
  std::vector<model::NamedShape> shapes = model::parameter_shapes(model);
  if (config.lora.enabled) {
    const auto adapters =
        model::adapter_shapes(model, trainer::lora_setup(config, model).options(/*seed=*/0));
    shapes.insert(shapes.end(), adapters.begin(), adapters.end());
  }
  std::vector<std::string> names;
  for (const auto& [name, shape] : shapes) names.push_back(name);
  const trainer::Learning learning(config, names);
  std::vector<sharding::NamedTensor> named;
  for (const auto& [name, shape] : shapes) {
    named.push_back({.name = name,
                     .tensor = at::ones(shape, trainer::scalar_type(config.model.dtype)),
                     .frozen = learning.frozen(name)});
  }
  return named;
}

HeldByEngine train_as_configured(const configs::Config& config, const model::QwenConfig& model) {
  sharding::TensorMeter meter;
  const std::int64_t before = meter.live().total();
  std::vector<sharding::NamedTensor> named = tensors_of(config, model);
  sharding::EngineOptions options = trainer::engine_options(config);
  options.apart = [](std::string_view /*what*/, int /*window*/) {};
  sharding::ZeroEngine engine(
      sharding::ParamRegistry(named, trainer::group_rules(config), config.optimizer.decay_1d),
      sharding::make_self(), options);
  meter.restart_peak();
  for (int step = 0; step < 2; ++step) {
    at::Tensor loss = at::zeros({});
    for (const sharding::NamedTensor& t : named) {
      if (t.tensor.requires_grad()) loss = loss + t.tensor.sum();
    }
    engine.backward(loss, true);
    engine.step(trainer::group_lrs(config.groups), engine.consensus({}, {}, false));
    engine.empty_partition_cache();
  }
  engine.await_all();
  HeldByEngine held{.between_steps = engine.bytes(),
                    .transient = engine.step_peak(),
                    .peak = meter.peak() - before};
  for (const sharding::Param& param : engine.registry().frozen())
    held.frozen += static_cast<std::int64_t>(param.tensor.nbytes());
  const auto snapshot = engine.snapshot();
  engine.empty_partition_cache();
  held.snapshot = engine.step_peak().snapshot;
  return held;
}

}  // namespace

TEST_CASE("plan: parameters per group of the published models", "[golden]") {
  const fs::path folder = shared("golden/published_configs");
  const auto expected = nlohmann::json::parse(read_text(folder / "expected_counts.json"));
  for (const auto& [name, counts] : expected.items()) {
    INFO(name);
    const RunPlan plan = make_plan(base_config(), model::read_config(folder / (name + ".json")), 8);
    for (const GroupCount& group : plan.groups) {
      if (group.name != "detection_head")
        CHECK(group.elements == counts.at(group.name).get<std::int64_t>());
    }
  }
}

TEST_CASE("plan: what forward and backward of the 3B took on an H100", "[golden]") {
  const model::QwenConfig model = model::read_config(shared("golden/published_configs/3b.json"));
  const configs::Config config =
      base_config({"model.checkpoint_language=false", "model.checkpoint_vision=false",
                   "detection.enabled=false"});
  const MicroBatchShape shape{.samples = 8, .tokens = 3312, .vision_tokens = 1536, .labels = 1600};
  const RunPlan plan = make_plan(config, model, 1);
  std::int64_t parameters = 0;
  for (const GroupCount& group : plan.groups) parameters += group.elements;
  const double planned =
      static_cast<double>(2 * parameters + estimate_activations(config, model, shape).total()) /
      kGiB;
  CAPTURE(planned);
  CHECK(std::abs(planned / 29.36 - 1) < 0.03);  // docs/gpu_results.md: the peak of its tensors
}

TEST_CASE("plan: activations grow with tokens, recomputation shrinks them", "[unit]") {
  const model::QwenConfig model = small_model();
  const MicroBatchShape shape{2, 512, 256, 100, 10, 40, false};
  MicroBatchShape longer = shape;
  longer.tokens *= 2;
  const configs::Config kept =
      base_config({"model.checkpoint_language=false", "model.checkpoint_vision=false"});
  const ActivationBytes base = estimate_activations(kept, model, shape),
                        more = estimate_activations(kept, model, longer);
  CHECK(more.language == 2 * base.language);
  CHECK(more.vision == base.vision);
  CHECK(estimate_activations(base_config(), model, shape).language < base.language / 2);
  CHECK(
      estimate_activations(base_config({"groups.visual.lr=0", "groups.merger.lr=0"}), model, shape)
          .vision == 0);
}

TEST_CASE("plan: what does not fit comes with changes that were planned again", "[unit]") {
  const model::QwenConfig model = small_model();
  const configs::Config config = base_config(
      {"model.checkpoint_language=false", "model.dtype=fp32", "sharding.wire_dtype=fp32"});
  const RunPlan roomy = make_plan(config, model, 1, largest_allowed(config), 500 * kGiB);
  REQUIRE(roomy.fits());
  CHECK(advise(config, model, roomy).changes.empty());

  const RunPlan tight =
      make_plan(config, model, 1, largest_allowed(config), roomy.total() * 7 / 10);
  REQUIRE_FALSE(tight.fits());
  const Advice advice = advise(config, model, tight);
  REQUIRE(advice.fits);
  REQUIRE_FALSE(advice.changes.empty());
  std::int64_t before = tight.total();
  for (const PlannedChange& change : advice.changes) {
    CHECK(change.total_after < before);
    before = change.total_after;
  }
  CHECK(before <= tight.available_bytes);

  const RunPlan hopeless = make_plan(config, model, 1, largest_allowed(config), 1 << 20);
  CHECK_FALSE(advise(config, model, hopeless).fits);
  CHECK(format_advice(advise(config, model, hopeless), hopeless).find("not enough") !=
        std::string::npos);
}

TEST_CASE(
    "plan: a 7B with every weight trained fits one card of 80 GiB with its optimizer on the host",
    "[golden]") {
  const model::QwenConfig model = model::read_config(shared("golden/published_configs/7b.json"));
  const std::vector<std::string> recomputed{"run.device=cuda", "model.checkpoint_language=true",
                                            "model.checkpoint_vision=true"};
  const configs::Config beside = base_config(recomputed);
  const RunPlan tight = make_plan(beside, model, 1, largest_allowed(beside), 80 * kGiB);
  CHECK_FALSE(tight.fits());
  const Advice advice = advise(beside, model, tight);
  REQUIRE(advice.fits);
  const auto moved =
      std::ranges::find(advice.alone, "sharding.optimizer_device=cpu", &PlannedChange::arguments);
  REQUIRE(moved != advice.alone.end());
  CHECK(moved->fits);
  const auto adapters =
      std::ranges::find(advice.alone, "lora.enabled=true", &PlannedChange::arguments);
  REQUIRE(adapters != advice.alone.end());
  CHECK(adapters->fits);

  std::vector<std::string> changed = recomputed;
  changed.push_back(moved->arguments());
  const RunPlan plan = make_plan(base_config(changed), model, 1);
  INFO(format_plan(plan, base_config(changed), false));
  CHECK(plan.fits());
  CHECK(plan.total() == moved->total_after);
  CHECK(plan.host_total() == moved->host_after);
  const std::int64_t elements = plan.memory.bytes.parameters / 2;  // bf16
  CHECK(plan.memory.bytes.host.master + plan.memory.bytes.host.moments == 12 * elements);
  CHECK(plan.memory.fetched_bytes_per_step == 4 * elements);
  CHECK(plan.memory.put_back_bytes_per_step == 2 * elements);
  CHECK(format_plan(plan, base_config(changed), false).find("over PCIe per step") !=
        std::string::npos);
}

TEST_CASE(
    "plan: a scaled 7B, whole with its optimizer on the host or as LoRA, holds what is planned",
    "[golden]") {
  const model::QwenConfig model = scaled_7b();
  const bool lora = GENERATE(false, true);
  CAPTURE(lora);
  const configs::Config config = base_config(
      {"run.device=cuda", "sharding.optimizer_device=cpu", "detection.enabled=false",
       "sharding.bucket_bytes=1048576", lora ? "lora.enabled=true" : "lora.enabled=false"});
  const RunPlan plan = make_plan(config, model, 1);
  const HeldByEngine held = train_as_configured(config, model);
  CHECK(held.between_steps == plan.memory.bytes);
  CHECK(held.between_steps.host.total() > held.between_steps.total());
  CHECK(held.snapshot == plan.host_snapshot);
  const sharding::TransientBytes& planned = plan.memory.transient;
  CHECK(held.transient.staging <= planned.staging);
  CHECK(held.transient.gradient == planned.gradient);
  CHECK((held.frozen > 0) == lora);
  const std::int64_t between =
      plan.memory.bytes.total() + plan.memory.bytes.host.total() + held.frozen;
  CHECK(held.peak >= between);
  CHECK(held.peak <= (between + planned.total()) * 102 / 100);
}

TEST_CASE("plan: advice knows the host's memory when it is told", "[golden]") {
  const model::QwenConfig model = model::read_config(shared("golden/published_configs/7b.json"));
  const configs::Config config = base_config(
      {"run.device=cuda", "sharding.optimizer_device=cpu", "model.checkpoint_vision=true"});
  RunPlan plan = make_plan(config, model, 1);
  REQUIRE(plan.fits());
  plan.host_available_bytes = plan.host_total() - 1;
  CHECK_FALSE(plan.fits());
  const Advice advice = advise(config, model, plan);
  REQUIRE(advice.fits);
  CHECK(advice.changes.back().host_after < plan.host_total());
  CHECK(advice.changes[0].arguments() == "optimizer.master=split");  // the same bits
}

TEST_CASE("plan: each remedy is offered alone, the smallest change first", "[unit]") {
  const model::QwenConfig model = small_model();
  const configs::Config config = base_config({"run.device=cuda"});
  const RunPlan roomy = make_plan(config, model, 1);
  const RunPlan tight =
      make_plan(config, model, 1, largest_allowed(config), roomy.total() * 95 / 100);
  const Advice advice = advise(config, model, tight);
  std::vector<std::string> offered;
  for (const PlannedChange& change : advice.alone) {
    offered.push_back(change.arguments());
    CHECK(change.total_after < tight.total());
    CHECK(change.fits == (change.total_after <= tight.available_bytes));
  }
  const auto place = [&](const std::string& arguments) {
    const auto found = std::ranges::find(offered, arguments);
    INFO(format_advice(advice, tight));
    REQUIRE(found != offered.end());
    return found - offered.begin();
  };
  CHECK(place("optimizer.master=split") < place("sharding.optimizer_device=cpu"));
  CHECK(place("sharding.optimizer_device=cpu") <
        place("optimizer.moments=bf16 --set optimizer.rounding=stochastic"));
  CHECK(place("optimizer.moments=bf16 --set optimizer.rounding=stochastic") <
        place("lora.enabled=true"));
  CHECK(place("lora.enabled=true") < place("groups.model.lr=0 --set groups.lm_head.lr=0"));
  CHECK(format_advice(advice, tight).find("one of these is enough, the smallest change first") !=
        std::string::npos);
}

TEST_CASE("plan: the first advice, applied as told, gives the total it promised", "[unit]") {
  const model::QwenConfig model = small_model();
  const configs::Config config = base_config({"model.checkpoint_language=false"});
  const RunPlan plan = make_plan(config, model, 1, largest_allowed(config), kGiB / 4);
  const Advice advice = advise(config, model, plan);
  REQUIRE_FALSE(advice.changes.empty());
  REQUIRE(advice.changes[0].arguments() == "model.checkpoint_language=true");
  const configs::Config changed =
      base_config({"model.checkpoint_language=false", advice.changes[0].settings[0]});
  CHECK(make_plan(changed, model, 1, largest_allowed(changed)).total() ==
        advice.changes[0].total_after);
}

TEST_CASE("plan: captions of a pack's words take their rows of logits and no others", "[unit]") {
  const model::QwenConfig model = small_model();
  const configs::Config config = base_config({"detection.labels=open", "model.dtype=fp32"});
  MicroBatchShape shape = largest_allowed(config);
  shape.labels = 0;  // no answers: the captions' logits are the largest
  MicroBatchShape some = shape;
  some.caption_words = 1000;
  const std::int64_t fewer = model.text.vocab_size - 1000;
  const std::int64_t rows = std::min<std::int64_t>(shape.caption_tokens, 512);
  const std::int64_t dim = model.text.hidden_size;
  // A chunk of logits, on a GPU twice more in fp32, or the gradients of their rows and of the
  // embedding.
  constexpr std::int64_t kLogitBytes = 12;
  const std::int64_t matrix = model.text.vocab_size * dim * 4;
  CHECK(estimate_activations(config, model, shape).logits ==
        std::max(rows * model.text.vocab_size * kLogitBytes, 2 * matrix));
  CHECK(estimate_activations(config, model, some).logits ==
        std::max(rows * 1000 * kLogitBytes, 1000 * dim * 4 + matrix));
  CHECK(forward_flops(config, model, shape).head - forward_flops(config, model, some).head ==
        2.0 * static_cast<double>(shape.caption_tokens * fewer * dim));
}

TEST_CASE("plan: the simulated message of a step has the slots that the loop fills", "[unit]") {
  const configs::Config config = base_config();
  const trainer::LossTerms terms(config.loss, config.detection.labels);
  const auto alone = sharding::make_self();
  for (const int micro_batches : {1, 4}) {
    data::StepBatches step;
    step.micro_batches.resize(micro_batches);
    const trainer::StepTotals totals(step, terms, *alone);
    const RunPlan plan = make_plan(config, small_model(), 1);
    CHECK(consensus_bytes(plan, micro_batches) - plan.memory.transient.consensus ==
          static_cast<std::int64_t>(totals.counts().size_bytes() + totals.values().size_bytes()));
  }
}

TEST_CASE("plan: simulation over worlds", "[unit]") {
  const configs::Config config = base_config();
  const ClusterModel cluster{
      .flops = 4e14,
      .memory_bytes_per_s = 2.5e12,
      .host_bytes_per_s = 6e10,
      .pcie_bytes_per_s = 5e10,
      .network = {
          .ranks_per_node = 8, .node = {1e-5, 3e11}, .cluster = {2e-5, 4e10}, .message_s = 1e-6}};
  const auto runs =
      simulate_run(config, small_model(), largest_allowed(config), cluster, {8, 64, 512});
  REQUIRE(runs.size() == 3);
  CHECK(runs[0].bytes_per_rank > runs[2].bytes_per_rank);    // shards shrink
  CHECK(runs[0].step.exposed_s < runs[2].step.exposed_s);    // between nodes it is slower
  CHECK(runs[2].native.exposed_s < runs[2].step.exposed_s);  // a node's ranks share what comes in
  CHECK(runs[0].micro_batches_per_rank == 4);
  const std::string page = draw_simulation(runs, cluster, "a <title>");
  CHECK(page.find("a &lt;title&gt;") != std::string::npos);
  CHECK(page.find("512 ranks") != std::string::npos);
  CHECK(page.find("nan") == std::string::npos);
  CHECK(format_simulation(runs, cluster).find("   512") != std::string::npos);
  CHECK(format_simulation(runs, cluster).find("PCIe") == std::string::npos);

  const configs::Config moved = base_config({"run.device=cuda", "sharding.optimizer_device=cpu"});
  const auto on_host = simulate_run(moved, small_model(), largest_allowed(moved), cluster, {8});
  CHECK(on_host[0].bytes_per_rank < runs[0].bytes_per_rank);
  CHECK(on_host[0].step.step_s > runs[0].step.step_s);
  CHECK(format_simulation(on_host, cluster).find("50 GB/s over PCIe") != std::string::npos);
}

TEST_CASE("plan: a LoRA run of the 7B holds states of adapters and head alone", "[golden]") {
  const model::QwenConfig model = model::read_config(shared("golden/published_configs/7b.json"));
  const RunPlan full = make_plan(base_config(), model, 1);
  const RunPlan lora = make_plan(base_config({"lora.enabled=true"}), model, 1);
  const auto group = [](const RunPlan& plan, const std::string& name) {
    return *std::ranges::find(plan.groups, name, &GroupCount::name);
  };
  // Rank 8 on q, k, v, o (3584, 512, 512, 3584 outputs) and the MLP (18944) of 28 layers.
  const std::int64_t adapters =
      28 * 8 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944));
  CHECK(group(lora, "model").trained == adapters);
  CHECK(group(lora, "model").elements == group(full, "model").elements + adapters);
  CHECK(group(lora, "visual").trained == 0);
  CHECK(group(lora, "lm_head").trained == 0);
  const std::int64_t head = group(lora, "detection_head").elements;
  CHECK(group(lora, "detection_head").trained == head);
  // A checkpoint: bf16 weights, fp32 masters and two fp32 moments of what trains.
  CHECK((adapters + head) * (2 + 12) <= 500'000'000);
  std::int64_t base = 0;
  for (const GroupCount& g : full.groups) base += g.name == "detection_head" ? 0 : g.elements;
  CHECK(lora.memory.frozen_parameters == 2 * base);
  CHECK(lora.activations.vision == 0);
  CHECK(lora.fits());
  CHECK_FALSE(full.fits());
}
