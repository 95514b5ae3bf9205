// muster plan CONFIG tells the bytes per rank and the traffic per step, whether that fits, and what
// to change if not. With --simulate it predicts step time and exposed communication on 8 to 4096
// GPUs.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "launcher/commands/command_table.h"
#include "launcher/front/config_arguments.h"
#include "launcher/plan/advice.h"
#include "launcher/plan/hours.h"
#include "launcher/plan/picture.h"
#include "launcher/plan/plan.h"
#include "launcher/plan/simulation.h"
#include "launcher/plan/text.h"
#include "launcher/rank/world.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::launcher {
namespace {

struct PlanOptions {
  ConfigArguments config;
  int ranks = 1;
  double memory_gib = 0;
  double host_memory_gib = 0;
  bool simulate = false;
  std::string picture;
  // A node of eight H100 with one 400 Gbit/s port each sustains these.
  double tflops = 400;
  double memory_tbs = 2.5;
  double node_gbs = 300;
  double cluster_gbs = 40;
  double node_us = 10;
  double cluster_us = 20;
  double message_us = 1;
  // What one of its eight ranks has of the host.
  double pcie_gbs = 50;
  double host_gbs = 60;
  int ranks_per_node = 8;
};

ClusterModel cluster_of(const PlanOptions& options) {
  ClusterModel cluster;
  cluster.flops = options.tflops * 1e12;
  cluster.memory_bytes_per_s = options.memory_tbs * 1e12;
  cluster.host_bytes_per_s = options.host_gbs * 1e9;
  cluster.pcie_bytes_per_s = options.pcie_gbs * 1e9;
  cluster.network = {.ranks_per_node = options.ranks_per_node,
                     .node = {options.node_us * 1e-6, options.node_gbs * 1e9},
                     .cluster = {options.cluster_us * 1e-6, options.cluster_gbs * 1e9},
                     .message_s = options.message_us * 1e-6};
  return cluster;
}

// The pack says best what a micro-batch holds; a plan is wanted before there is one, too.
MicroBatchShape shape_of(const configs::Config& config, const model::QwenConfig& model) {
  const std::vector<fs::path> packs = configs::pack_files(config.data.train);
  const bool packed =
      std::ranges::all_of(packs, [](const fs::path& pack) { return fs::exists(pack); });
  if (!packed || !fs::exists(config.tokens.tokenizer)) return largest_allowed(config);
  try {
    return largest_in_pack(config, model);
  } catch (const Error& error) {
    log::warn("{} cannot be used for the plan ({}): the config's limits are",
              configs::pack_names(config.data.train), error.what());
    return largest_allowed(config);
  }
}

void simulate(const PlanOptions& options, const configs::Config& config,
              const model::QwenConfig& model, const MicroBatchShape& shape) {
  const ClusterModel cluster = cluster_of(options);
  std::vector<int> ranks;
  for (int n = 8; n <= 4096; n *= 2) ranks.push_back(n);
  const std::vector<SimulatedRun> runs = simulate_run(config, model, shape, cluster, ranks);
  fmt::print("\n{}", format_simulation(runs, cluster));
  if (options.picture.empty()) return;
  write_text(options.picture,
             draw_simulation(runs, cluster, fmt::format("muster plan: {}", options.config.file)));
  fmt::print(stderr, "picture: {}\n", options.picture);
}

// Of a GPU, where the figures of the simulated cluster mean something.
std::optional<double> simulated_step_s(const PlanOptions& options, const configs::Config& config,
                                       const model::QwenConfig& model,
                                       const MicroBatchShape& shape) {
  if (config.run.device != configs::Device::kCuda) return std::nullopt;
  return simulate_run(config, model, shape, cluster_of(options), {options.ranks})
      .front()
      .step.step_s;
}

std::int64_t bytes_of_gib(double gib) {
  return static_cast<std::int64_t>(gib * (std::int64_t{1} << 30));
}

// Returns 1 when the plan does not fit.
int plan_command(const PlanOptions& options) {
  const configs::Config config = options.config.load();
  check_world(options.ranks, config.batch.micro_batches_per_step);
  const model::QwenConfig model = model::read_config(trainer::find_model(config.model));
  const MicroBatchShape shape = shape_of(config, model);
  RunPlan plan = make_plan(config, model, options.ranks, shape, bytes_of_gib(options.memory_gib));
  plan.host_available_bytes = bytes_of_gib(options.host_memory_gib);
  fmt::print("{}", format_plan(plan, config, ::isatty(STDOUT_FILENO) != 0));
  fmt::print("{}", length_text(config, planned_length(config, model),
                               simulated_step_s(options, config, model, shape)));
  fmt::print("{}", format_advice(advise(config, model, plan), plan));
  if (options.simulate || !options.picture.empty()) simulate(options, config, model, shape);
  return plan.fits() ? 0 : 1;
}

void add_cluster(CLI::App& command, PlanOptions& options) {
  constexpr const char* kGroup = "Simulated cluster";
  const auto add_figure = [&](const char* name, double& value, const char* what) {
    command.add_option(name, value, what)
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber)
        ->group(kGroup);
  };
  add_figure("--tflops", options.tflops, "what a GPU sustains, 1e12 operations a second");
  add_figure("--memory-tbs", options.memory_tbs, "bandwidth of a GPU's memory, TB/s");
  add_figure("--node-gbs", options.node_gbs, "bandwidth of a GPU to others of its node, GB/s");
  add_figure("--cluster-gbs", options.cluster_gbs, "bandwidth of a GPU to other nodes, GB/s");
  add_figure("--node-us", options.node_us, "latency within a node, microseconds");
  add_figure("--cluster-us", options.cluster_us, "latency between nodes, microseconds");
  add_figure("--message-us", options.message_us, "a sender's time per message, microseconds");
  add_figure("--pcie-gbs", options.pcie_gbs, "bandwidth between a GPU and its host, GB/s");
  add_figure("--host-gbs", options.host_gbs, "bandwidth of the host's memory per GPU, GB/s");
  command.add_option("--ranks-per-node", options.ranks_per_node, "GPUs of a node")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->group(kGroup);
}

}  // namespace

void add_plan(CommandLine& cli) {
  CLI::App& command = add_command(
      cli, "plan",
      "bytes per rank and traffic per step for N ranks; ends with 1 when it does not fit",
      {"muster plan configs/demo.yaml -n 8"});
  const auto options = std::make_shared<PlanOptions>();
  options->config.add_to(command);
  command.add_option("-n,--ranks", options->ranks, "world size")->check(CLI::PositiveNumber);
  command
      .add_option("--memory", options->memory_gib,
                  "what one rank has, in GiB; else this machine's, or 80 on a GPU")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--host-memory", options->host_memory_gib,
                  "what one rank has of the host's memory beside its GPU, in GiB; else only told")
      ->check(CLI::PositiveNumber);
  command.add_flag("--simulate", options->simulate,
                   "predict step time and exposed communication on 8 to 4096 GPUs");
  command.add_option("--picture", options->picture,
                     "with the simulation: write it as an HTML page");
  add_cluster(command, *options);
  command.callback([&cli, options] { cli.exit_code = plan_command(*options); });
}

}  // namespace muster::launcher
