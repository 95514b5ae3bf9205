// muster memcheck CONFIG trains some steps in a run folder of its own and fits the memory slopes.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/progress.h"
#include "base/text.h"
#include "launcher/commands/command_table.h"
#include "launcher/front/config_arguments.h"
#include "launcher/plan/plan.h"
#include "trainer/assembly/device.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/evaluate/memcheck.h"
#include "trainer/train_loop.h"

namespace muster::launcher {
namespace {

struct MemcheckOptions {
  ConfigArguments config;
  std::int64_t steps = 60;
  std::int64_t planted_bytes = 0;
};

const char* verdict(const trainer::MemorySlope& slope) {
  if (slope.flat) return "flat";
  return slope.filling() ? "filling" : "LEAKING";
}

void print_curve(const char* what, const trainer::MemoryCurve& curve) {
  fmt::print("{:<22}{:>12}{:>12}{:>14.2f} KiB  {}\n", what, human_bytes(curve.samples.front()),
             human_bytes(curve.samples.back()), curve.slope.bytes_per_step / 1024,
             verdict(curve.slope));
}

void print_curves(const trainer::MemoryReport& report) {
  fmt::print("{:<22}{:>12}{:>12}{:>14}      over {} steps\n", "after a step", "first", "last",
             "slope", report.steps);
  print_curve("tensors", report.tensors);
  print_curve("heap outside tensors", report.heap);
  print_curve("resident set", report.resident);
}

void print_engine(const sharding::EngineBytes& b) {
  fmt::print(
      "engine between steps, as promised: parameters {}  gradient shard {}  master {}  moments {}  "
      "running mean {}  staging {}\n",
      human_bytes(b.parameters), human_bytes(b.gradient_shard), human_bytes(b.master),
      human_bytes(b.moments), human_bytes(b.ema), human_bytes(b.staging));
  if (b.host.total() == 0) return;
  fmt::print("in the host's memory: parameters {}  gradient {}  master {}  moments {}\n",
             human_bytes(b.host.parameters), human_bytes(b.host.gradient),
             human_bytes(b.host.master), human_bytes(b.host.moments));
}

double error_percent(std::int64_t planned, std::int64_t measured) {
  return 100 * (static_cast<double>(planned) / static_cast<double>(measured) - 1);
}

// Prints what `muster plan` says of the same run, beside what was measured.
void print_plan(const configs::Config& config, const trainer::MemoryReport& report) {
  const model::QwenConfig model = model::read_config(trainer::find_model(config.model));
  const RunPlan plan = make_plan(config, model, 1, largest_in_pack(config, model));
  // No checkpoint is written here.
  const std::int64_t total = plan.total() - plan.memory.transient.snapshot;
  const std::int64_t tensors = total - plan.process_bytes;
  fmt::print("{:<22}{:>12}{:>12}{:>14}\n", "peak of a step", "planned", "measured", "error");
  fmt::print("{:<22}{:>12}{:>12}{:>12.1f} %\n", "tensors", human_bytes(tensors),
             human_bytes(report.tensor_peak), error_percent(tensors, report.tensor_peak));
  fmt::print("{:<22}{:>12}{:>12}{:>12.1f} %\n", "resident set", human_bytes(total),
             human_bytes(report.resident_peak), error_percent(total, report.resident_peak));
}

configs::Config scratch_config(const MemcheckOptions& options, const fs::path& run_dir) {
  configs::Config config = options.config.load();
  config.run.dir = run_dir.string();
  config.data.val.clear();
  config.checkpoint.resume = false;
  return config;
}

int memcheck(const MemcheckOptions& options) {
  const TempDir scratch("muster-memcheck");
  const configs::Config config = scratch_config(options, scratch.path());
  at::set_num_threads(static_cast<int>(config.run.threads_per_rank));
  trainer::open_device(config.run, /*local_rank=*/0);
  sharding::TensorMeter meter;
  trainer::Trainer trainer(config, sharding::make_self());
  std::vector<at::Tensor> planted;
  Progress progress("training", options.steps);
  const trainer::MemoryReport report = trainer::check_memory(
      trainer.engine(), [&] { trainer.train_step(); }, meter, options.steps,
      [&](std::int64_t) {
        if (options.planted_bytes > 0)
          planted.push_back(at::zeros({options.planted_bytes}, at::kByte));
        progress.add();
      });
  print_curves(report);
  print_engine(trainer.engine().bytes());
  print_plan(config, report);
  if (report.flat()) return 0;
  fmt::print("{}: {}\n", report.leaks() ? "LEAKING" : "not flat yet", report.culprit());
  return static_cast<int>(ExitCode::kNumeric);
}

}  // namespace

void add_memcheck(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "memcheck", "train a few steps and fit the memory slope: flat or leaking",
                  {"muster memcheck configs/demo.yaml --steps 40"});
  const auto options = std::make_shared<MemcheckOptions>();
  options->config.add_to(command);
  command.add_option("--steps", options->steps, "steps to train")->check(CLI::Range(6, 1000000));
  command
      .add_option("--plant-leak", options->planted_bytes,
                  "keep a tensor of so many bytes per step, to see it found")
      ->check(CLI::PositiveNumber);
  command.callback([&cli, options] { cli.exit_code = memcheck(*options); });
}

}  // namespace muster::launcher
