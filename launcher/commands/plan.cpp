// muster plan CONFIG [--ranks N]: bytes per rank and traffic per step; does it fit, and what to
// change if not. With
// --simulate: step time and exposed communication on clusters of 8 to 4096 GPUs.
#include <fmt/core.h>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/run_context.h"
#include "launcher/plan/plan.h"
#include "launcher/plan/simulation.h"
#include "launcher/rank/world.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::launcher {
namespace {

struct PlanArguments {
  ConfigArguments config;
  int ranks = 1;
  double memory_gib = 0;
  bool simulate = false;
  std::string picture;
  // Sustained figures of a node of eight H100 with one 400 Gbit/s port each.
  double tflops = 400, memory_tbs = 2.5, node_gbs = 300, cluster_gbs = 40, node_us = 10,
         cluster_us = 20, message_us = 1;
  int ranks_per_node = 8;
};

ClusterModel cluster_of(const PlanArguments& a) {
  ClusterModel cluster;
  cluster.flops = a.tflops * 1e12;
  cluster.memory_bytes_per_s = a.memory_tbs * 1e12;
  cluster.network = {.ranks_per_node = a.ranks_per_node,
                     .node = {a.node_us * 1e-6, a.node_gbs * 1e9},
                     .cluster = {a.cluster_us * 1e-6, a.cluster_gbs * 1e9},
                     .message_s = a.message_us * 1e-6};
  return cluster;
}

// The pack says best what a micro-batch holds; a plan is wanted before there is one, too.
MicroBatchShape shape_of(const configs::Config& config, const model::QwenConfig& model) {
  if (!fs::exists(config.data.train) || !fs::exists(config.tokens.tokenizer))
    return largest_allowed(config);
  try {
    return largest_in_pack(config, model);
  } catch (const Error& error) {
    log::warn("{} cannot be used for the plan ({}): the config's limits are", config.data.train,
              error.what());
    return largest_allowed(config);
  }
}

void simulate(const PlanArguments& a, const configs::Config& config, const model::QwenConfig& model,
              const MicroBatchShape& shape) {
  const ClusterModel cluster = cluster_of(a);
  std::vector<int> ranks;
  for (int n = 8; n <= 4096; n *= 2) ranks.push_back(n);
  const std::vector<SimulatedRun> runs = simulate_run(config, model, shape, cluster, ranks);
  fmt::print("\n{}", format_simulation(runs, cluster));
  if (a.picture.empty()) return;
  write_text(a.picture,
             draw_simulation(runs, cluster, fmt::format("muster plan: {}", a.config.file)));
  fmt::print(stderr, "picture: {}\n", a.picture);
}

void plan_command(const PlanArguments& a) {
  const configs::Config config = a.config.load();
  check_world(a.ranks, config.batch.micro_batches_per_step);
  const model::QwenConfig model = model::read_config(trainer::find_model(config.model));
  const MicroBatchShape shape = shape_of(config, model);
  const auto given = static_cast<std::int64_t>(a.memory_gib * (std::int64_t{1} << 30));
  const RunPlan plan = make_plan(config, model, a.ranks, shape, given);
  fmt::print("{}", format_plan(plan, config, ::isatty(STDOUT_FILENO) != 0));
  fmt::print("{}", format_advice(advise(config, model, plan), plan));
  if (a.simulate || !a.picture.empty()) simulate(a, config, model, shape);
}

}  // namespace

void add_plan(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand(
      "plan", "Bytes per rank and traffic per step for N ranks; does it fit");
  auto a = std::make_shared<PlanArguments>();
  a->config.add_to(*command);
  command->add_option("--ranks,-n", a->ranks, "world size")->check(CLI::PositiveNumber);
  command
      ->add_option("--memory", a->memory_gib,
                   "GiB for one rank; else this machine's, or 80 on a GPU")
      ->check(CLI::PositiveNumber);
  command->add_flag("--simulate", a->simulate,
                    "predict step time and exposed communication on 8 to 4096 GPUs");
  command->add_option("--picture", a->picture, "with the simulation: write it as an HTML page");
  const auto figure = [&](const char* name, double& value, const char* what) {
    command->add_option(name, value, what)
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber)
        ->group("Simulated cluster");
  };
  figure("--tflops", a->tflops, "a GPU sustains, 1e12 operations a second");
  figure("--memory-tbs", a->memory_tbs, "of a GPU's memory, TB/s");
  figure("--node-gbs", a->node_gbs, "of a GPU to others of its node, GB/s");
  figure("--cluster-gbs", a->cluster_gbs, "of a GPU to other nodes, GB/s");
  figure("--node-us", a->node_us, "latency in a node, microseconds");
  figure("--cluster-us", a->cluster_us, "latency between nodes, microseconds");
  figure("--message-us", a->message_us, "a sender's time per message, microseconds");
  command->add_option("--ranks-per-node", a->ranks_per_node, "GPUs of a node")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->group("Simulated cluster");
  command->callback([a] { plan_command(*a); });
}

}  // namespace muster::launcher
