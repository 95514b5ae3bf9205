// The launcher as the batch process of a SLURM job: when it is over, does the job go back to the
// queue?
#pragma once

#include <string>
#include <vector>

#include "launcher/supervise/launch_spec.h"
#include "launcher/supervise/scontrol.h"

namespace muster::launcher {

// Left alone, srun may fill one node and leave one rank for the next: the same number on each, when
// that is possible and launch.ranks_per_node does not say otherwise. REQUIRES: the starter is srun.
// Reads SLURM_JOB_NUM_NODES.
void spread_over_nodes(LaunchSpec& spec);

struct Requeue {
  bool wanted = false;
  std::string why;
};

// Pure. A checkpoint that was asked for (75) is continued later, and a failure on a node that no
// longer answers is tried on others. A job that is being cancelled is left alone: requeueing would
// bring it back to life.
Requeue decide_requeue(const SlurmJob& job, int exit_code,
                       const std::vector<std::string>& lost_nodes);

// Returns the nodes of the job that do not start a process within 20 s.
std::vector<std::string> lost_nodes(const SlurmJob& job);

// The batch process of a job calls this last: SLURM ends this process while it requeues the job.
// Does nothing outside a batch job.
void requeue_if_wanted(int exit_code);

// Cancels the jobs of this chain (`submit --chain`) that wait, unless the run is to be continued
// (75).
void end_chain_if_over(int exit_code);

}  // namespace muster::launcher
