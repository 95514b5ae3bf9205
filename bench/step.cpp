// What the head and its losses cost, for ./run bench step: forward and backward of a config's first
// micro-batches, whole and of the network alone, in turns on one thread of one rank. Prints one
// JSON object: seconds a micro-batch of both, of the fastest round: other work only adds.
#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/tensors/tensor_memory.h"
#include "configs/config.h"
#include "model/detector.h"
#include "sharding/layout/param_registry.h"
#include "timing.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/device.h"
#include "trainer/assembly/groups.h"
#include "trainer/assembly/options.h"
#include "trainer/assembly/run_data.h"
#include "trainer/loss_terms.h"

namespace muster::bench {
namespace {

struct Options {
  std::string config;
  std::vector<std::string> settings;
  int micro_batches = 8, rounds = 7;
};

class Bench {
 public:
  explicit Bench(const configs::Config& config)
      : config_(config),
        data_(config),
        detector_(trainer::build_detector(config, data_.tokenizer, data_.train.class_map(),
                                          data_.captions.words)),
        registry_(trainer::register_parameters(config, detector_)),
        terms_(config.loss, config.detection.labels) {}

  std::vector<MicroBatch> first(int count) const {
    const auto plans = data_.sampler.epoch(0);
    std::vector<MicroBatch> batches;
    for (const data::MicroBatchPlan& plan : plans)
      if (!plan.samples.empty() && static_cast<int>(batches.size()) < count)
        batches.push_back(data_.samples.encode(plan, 0));
    return batches;
  }

  // As a training step does it, the engine left out.
  void whole(const MicroBatch& batch) const {
    const auto sums =
        detector_.loss(batch, trainer::head_loss_options(config_), seed_of(config_.run.seed, 1));
    terms_.weigh(sums, batch.denominators).backward();
    finish();
  }

  // What of it the head reads, and the language model's own loss; the gradient that comes back
  // from the head is one of ones.
  void network_alone(const MicroBatch& batch) const {
    const model::QwenVL& network = detector_.backbone();
    const bool answers = batch.labels.defined() && batch.labels.ne(kIgnoreLabel).any().item<bool>();
    const configs::Memory memory = config_.detection.memory;
    const bool language = answers || configs::has_language(memory);
    const model::QwenOutput seen =
        language ? network.forward(batch) : network.vision(batch.pixel_values, batch.grid_thw);
    at::Tensor sum = (configs::has_patches(memory) ? seen.image_patches : seen.image_embeds).sum();
    if (configs::has_language(memory)) sum = sum + seen.hidden.sum();
    if (answers && config_.loss.lm > 0)
      sum = sum + network.lm_loss_sum(seen.hidden, batch, seen.tied);
    if (sum.requires_grad()) sum.backward();
    finish();
  }

 private:
  void finish() const {
    for (const sharding::Param& param : registry_.trainable())
      at::Tensor(param.tensor).mutable_grad().reset();
    const at::Device device = registry_.trainable().front().tensor.device();
    if (!device.is_cpu())
      c10::impl::VirtualGuardImpl(device.type()).getStream(device).synchronize();
  }

  configs::Config config_;
  trainer::RunData data_;
  model::Detector detector_;
  sharding::ParamRegistry registry_;
  trainer::LossTerms terms_;
};

nlohmann::json measure(const Options& options) {
  const configs::Config config = configs::load(options.config, options.settings);
  at::set_num_threads(static_cast<int>(config.run.threads_per_rank));
  trainer::open_device(config.run, /*local_rank=*/0);
  const Bench bench(config);
  const std::vector<MicroBatch> batches = bench.first(options.micro_batches);
  if (batches.empty()) throw DataError("bench step: the config's pack has no sample");
  std::vector<double> whole, alone;
  bench.whole(batches.front());  // the first touches memory that later ones find
  for (int round = 0; round < options.rounds; ++round) {
    whole.push_back(
        seconds_of([&] { std::ranges::for_each(batches, [&](auto& b) { bench.whole(b); }); }));
    alone.push_back(seconds_of(
        [&] { std::ranges::for_each(batches, [&](auto& b) { bench.network_alone(b); }); }));
  }
  const auto count = static_cast<double>(batches.size());
  return {{"whole_s", std::ranges::min(whole) / count},
          {"network_s", std::ranges::min(alone) / count}};
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  muster::bench::Options options;
  CLI::App app("what the head and its losses cost in a step");
  app.add_option("CONFIG", options.config)->required();
  app.add_option("--set", options.settings);
  app.add_option("--micro-batches", options.micro_batches);
  app.add_option("--rounds", options.rounds);
  CLI11_PARSE(app, argc, argv);
  muster::use_tensor_memory();  // as a training process does
  try {
    fmt::print("{}\n", muster::bench::measure(options).dump());
  } catch (const muster::Error& error) {
    fmt::print(stderr, "bench step: {}\n", error.what());
    return 1;
  }
}
