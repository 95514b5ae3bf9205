#include "launcher/rank/world.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <vector>

#include "base/error.h"

namespace muster::launcher {
namespace {

int number(const GetEnv& env, const char* name, int otherwise) {
  const char* text = env(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  return *end == '\0' ? static_cast<int>(value) : otherwise;
}

// Several processes that Open MPI cannot join into one world.
void refuse_strangers(const GetEnv& env, int tasks) {
  if (env("SLURM_STEP_NUM_TASKS") != nullptr && tasks > 1) {
    throw PreflightError(
        fmt::format("srun started {} tasks without PMIx, so they cannot find each other (R-011). "
                    "Use: srun --mpi=pmix ...",
                    tasks));
  }
  if (const int size = number(env, "PMI_SIZE", 1); size > 1) {
    throw PreflightError(
        fmt::format("{} processes were started by the mpirun of another MPI than the Open MPI this "
                    "program is linked with (R-011). "
                    "Use Open MPI's mpirun: `muster doctor` shows which one is found.",
                    size));
  }
}

}  // namespace

WorldEnvironment world_from_environment(const GetEnv& env) {
  if (env("OMPI_COMM_WORLD_SIZE") != nullptr) {
    return {.by = "mpirun",
            .rank = number(env, "OMPI_COMM_WORLD_RANK", 0),
            .world_size = number(env, "OMPI_COMM_WORLD_SIZE", 1),
            .local_rank = number(env, "OMPI_COMM_WORLD_LOCAL_RANK", 0)};
  }
  // A batch script also sees SLURM_PROCID; only a step's task has SLURM_STEP_NUM_TASKS.
  const int tasks = number(env, "SLURM_STEP_NUM_TASKS", number(env, "SLURM_NTASKS", 1));
  if (env("PMIX_RANK") != nullptr) {
    return {.by = "srun",
            .rank = number(env, "PMIX_RANK", 0),
            .world_size = tasks,
            .local_rank = number(env, "SLURM_LOCALID", 0)};
  }
  refuse_strangers(env, tasks);
  return {};
}

WorldEnvironment world_from_environment() {
  return world_from_environment(
      [](const char* name) { return static_cast<const char*>(std::getenv(name)); });
}

void check_world(int world_size, std::int64_t micro_batches_per_step) {
  if (world_size > 0 && micro_batches_per_step % world_size == 0) return;
  std::vector<std::int64_t> divisors;
  for (std::int64_t n = 1; n <= micro_batches_per_step && divisors.size() < 16; ++n) {
    if (micro_batches_per_step % n == 0) divisors.push_back(n);
  }
  std::int64_t best = 1;
  for (const std::int64_t n : divisors) {
    if (n <= world_size) best = n;
  }
  const std::int64_t rounded =
      (micro_batches_per_step / std::max(world_size, 1) + 1) * std::max(world_size, 1);
  throw UsageError(fmt::format(
      "{} ranks cannot share batch.micro_batches_per_step = {} evenly (R-011). Ranks that work: "
      "{}. Either start {}: "
      "`muster launch CONFIG -n {}` (or `mpirun -n {} muster train CONFIG`), or change the step: "
      "`--set batch.micro_batches_per_step={}`",
      world_size, micro_batches_per_step, fmt::join(divisors, ", "), best, best, best, rounded));
}

}  // namespace muster::launcher
