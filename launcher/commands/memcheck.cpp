// muster memcheck CONFIG: trains K steps in a run folder of its own and fits the memory slope (diary quick command 3).
#include <ATen/Parallel.h>
#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/progress.h"
#include "base/text.h"
#include "launcher/commands.h"
#include "launcher/run_context.h"
#include "trainer/memory_slope.h"
#include "trainer/train_loop.h"

namespace muster::launcher {
namespace {

struct MemcheckArguments {
  ConfigArguments config;
  std::int64_t steps = 60;
};

int memcheck(const MemcheckArguments& a) {
  const TempDir scratch("muster-memcheck");
  configs::Config config = a.config.load();
  config.run.dir = scratch.path().string();
  config.data.val.clear();
  config.checkpoint = {0, 1, false};
  config.eval.every_steps = 0;
  at::set_num_threads(static_cast<int>(config.run.threads_per_rank));
  trainer::Trainer trainer(config, sharding::make_self());
  std::vector<std::int64_t> resident;
  Progress progress("training", a.steps);
  for (std::int64_t k = 0; k < a.steps; ++k) {
    resident.push_back(trainer.train_step().memory_bytes);
    const sharding::EngineBytes bytes = trainer.engine().bytes(), planned = trainer.engine().planned_bytes();
    if (bytes != planned) {
      throw NumericError(fmt::format("step {}: the engine holds {} after empty_partition_cache(), the plan promises {}", k,
                                     human_bytes(bytes.total()), human_bytes(planned.total())));
    }
    progress.add();
  }
  const trainer::MemorySlope slope = trainer::fit_memory(resident, resident.size() / 3);
  const sharding::EngineBytes bytes = trainer.engine().bytes();
  fmt::print("steps {}  resident {} -> {}  slope {:.1f} KiB/step  {}\n", a.steps, human_bytes(resident.front()),
             human_bytes(resident.back()), slope.bytes_per_step / 1024, slope.flat ? "flat" : "LEAKING");
  fmt::print("engine: parameters {}  gradient shard {}  master {}  moments {}  staging {}\n", human_bytes(bytes.parameters),
             human_bytes(bytes.gradient_shard), human_bytes(bytes.master), human_bytes(bytes.moments),
             human_bytes(bytes.staging));
  return slope.flat ? 0 : static_cast<int>(ExitCode::kNumeric);
}

}  // namespace

void add_memcheck(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand("memcheck", "Train a few steps and fit the memory slope: flat or leaking");
  auto a = std::make_shared<MemcheckArguments>();
  a->config.add_to(*command);
  command->add_option("--steps", a->steps, "steps to train")->check(CLI::Range(6, 1000000));
  command->callback([&cli, a] { cli.exit_code = memcheck(*a); });
}

}  // namespace muster::launcher
