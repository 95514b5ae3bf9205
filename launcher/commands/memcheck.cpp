// muster memcheck CONFIG: trains K steps in a run folder of its own and fits the memory slopes
// (diary quick command 3).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/progress.h"
#include "base/text.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/run_context.h"
#include "launcher/plan/plan.h"
#include "trainer/assembly/device.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/evaluate/memcheck.h"
#include "trainer/train_loop.h"

namespace muster::launcher {
namespace {

struct MemcheckArguments {
  ConfigArguments config;
  std::int64_t steps = 60, planted_bytes = 0;
};

void print_curve(const char* what, const trainer::MemoryCurve& curve) {
  fmt::print("{:<22}{:>12}{:>12}{:>14.2f} KiB  {}\n", what, human_bytes(curve.samples.front()),
             human_bytes(curve.samples.back()), curve.slope.bytes_per_step / 1024,
             curve.slope.flat ? "flat" : "LEAKING");
}

void print_engine(const sharding::EngineBytes& b) {
  fmt::print(
      "engine between steps, as promised: parameters {}  gradient shard {}  master {}  moments {}  "
      "staging {}\n",
      human_bytes(b.parameters), human_bytes(b.gradient_shard), human_bytes(b.master),
      human_bytes(b.moments), human_bytes(b.staging));
}

double error_percent(std::int64_t planned, std::int64_t measured) {
  return 100 * (static_cast<double>(planned) / static_cast<double>(measured) - 1);
}

// What `muster plan` says of the same run.
void print_plan(const configs::Config& config, const trainer::MemoryReport& report) {
  const model::QwenConfig model = model::read_config(trainer::find_model(config.model));
  const RunPlan plan = make_plan(config, model, 1, largest_in_pack(config, model));
  const std::int64_t total =
      plan.total() - plan.memory.transient.snapshot;  // no checkpoint is written here
  const std::int64_t tensors = total - plan.process_bytes;
  fmt::print("{:<22}{:>12}{:>12}{:>14}\n", "peak of a step", "planned", "measured", "error");
  fmt::print("{:<22}{:>12}{:>12}{:>12.1f} %\n", "tensors", human_bytes(tensors),
             human_bytes(report.tensor_peak), error_percent(tensors, report.tensor_peak));
  fmt::print("{:<22}{:>12}{:>12}{:>12.1f} %\n", "resident set", human_bytes(total),
             human_bytes(report.resident_peak), error_percent(total, report.resident_peak));
}

configs::Config scratch_config(const MemcheckArguments& a, const fs::path& run_dir) {
  configs::Config config = a.config.load();
  config.run.dir = run_dir.string();
  config.data.val.clear();
  config.checkpoint = {0, 1, false};
  config.eval.every_steps = 0;
  return config;
}

int memcheck(const MemcheckArguments& a) {
  const TempDir scratch("muster-memcheck");
  const configs::Config config = scratch_config(a, scratch.path());
  at::set_num_threads(static_cast<int>(config.run.threads_per_rank));
  trainer::open_device(config.run, /*local_rank=*/0);
  sharding::TensorMeter meter;
  trainer::Trainer trainer(config, sharding::make_self());
  std::vector<at::Tensor> planted;
  Progress progress("training", a.steps);
  const trainer::MemoryReport report = trainer::check_memory(
      trainer.engine(), [&] { trainer.train_step(); }, meter, a.steps,
      [&](std::int64_t) {
        if (a.planted_bytes > 0) planted.push_back(at::zeros({a.planted_bytes}, at::kByte));
        progress.add();
      });
  fmt::print("{:<22}{:>12}{:>12}{:>14}      over {} steps\n", "after a step", "first", "last",
             "slope", report.steps);
  print_curve("tensors", report.tensors);
  print_curve("heap outside tensors", report.heap);
  print_curve("resident set", report.resident);
  print_engine(trainer.engine().bytes());
  print_plan(config, report);
  if (report.flat()) return 0;
  fmt::print("LEAKING: {}\n", report.culprit());
  return static_cast<int>(ExitCode::kNumeric);
}

}  // namespace

void add_memcheck(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand(
      "memcheck", "Train a few steps and fit the memory slope: flat or leaking");
  auto a = std::make_shared<MemcheckArguments>();
  a->config.add_to(*command);
  command->add_option("--steps", a->steps, "steps to train")->check(CLI::Range(6, 1000000));
  command
      ->add_option("--plant-leak", a->planted_bytes,
                   "keep a tensor of so many bytes per step, to see it found")
      ->check(CLI::PositiveNumber);
  command->callback([&cli, a] { cli.exit_code = memcheck(*a); });
}

}  // namespace muster::launcher
