// Who started this process, read from the environment alone: no MPI call, no system call.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace muster::launcher {

struct WorldEnvironment {
  std::string by;  // "mpirun", "srun", or "" when started by hand: a world of one
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;
  bool launched() const { return !by.empty(); }
};

using GetEnv = std::function<const char*(const char* name)>;

// Throws PreflightError when several processes were started in a way that Open MPI cannot
// join into one world.
WorldEnvironment world_from_environment(const GetEnv& env);
WorldEnvironment world_from_environment();  // of this process

// Every rank takes the same number of a step's G micro-batches. Throws UsageError that
// names the counts that work.
void check_world(int world_size, std::int64_t micro_batches_per_step);

}  // namespace muster::launcher
