// What mpirun or srun starts in place of a rank: runs the rank as its child and keeps its true end.
// MPI launchers report 137 for everybody once one rank died; the wrapper's status file still says
// who died of what, and when.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::launcher {

struct WrapSpec {
  std::filesystem::path run_dir;
  int attempt = 0;
  std::vector<std::string> program;  // and its arguments
  // logs/rank-<r>.out, which holds the rank's raw stdout and stderr, and its predecessor take this.
  std::size_t max_output_bytes = 16u << 20;
  bool one_gpu = false;    // the rank sees the GPU of its local rank alone
  std::string beat_token;  // of the beats on stdout; "": none are sent
  bool local_box = false;  // the black box lies on this machine's own disk while the rank runs
};

// CUDA_VISIBLE_DEVICES for a rank that is to see one GPU: of the list it was given ("" or absent:
// all GPUs, by number) the entry of its local rank; a list of one stays (srun --gpus-per-task).
// Throws PreflightError when there is none.
std::string one_visible_gpu(const char* visible, int local_rank);

// Returns the rank's exit code, 128 + signal after a signal.
//  - USR2, INT, HUP and a scheduler's TERM reach the rank as USR2: checkpoint at the step boundary.
//  - mpirun's own TERM (the world is ending) and the death of the parent kill the rank at once.
//  - the rank dies with the wrapper. Its stderr is also shown on the wrapper's, each line with the
//  rank (console.h). The wrapper's stdout carries beats and nothing else.
int run_wrapped(const WrapSpec& spec);

}  // namespace muster::launcher
