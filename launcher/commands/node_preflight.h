// Preflight on every node of a run before its ranks start: one `muster doctor --facts` per node,
// started as the ranks will be, then one judgement of all.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launcher/doctor/judgements.h"
#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

// How many nodes the ranks go to: launch.hosts, else the SLURM job's, else 1.
int count_nodes(const LaunchSpec& spec, const char* slurm_job_num_nodes);

struct NodeAnswers {
  std::vector<NodeFacts> nodes;  // by host name
  std::string output;            // what the starter and the processes said
  // Between these two times, by our clock, each node looked at its own. 0: not known.
  double asked_unix = 0;
  double answered_unix = 0;
};
// `program`: the doctor's command line up to its folder for facts, {"/path/muster", "doctor",
// "c.yaml", ...}. Waits at most 180 s.
NodeAnswers ask_nodes(const LaunchSpec& spec, int nodes, std::vector<std::string> program);

// Every machine's own findings with its name, then what must be equal; R-007 when some did not
// answer. Pure but for the plan, which reads the model's config.json.
std::vector<Finding> judge_nodes(const NodeAnswers& answers, const LaunchSpec& spec, int nodes,
                                 const configs::Config& config);

// How many ranks go to this host.
int ranks_on(const LaunchSpec& spec, const std::string& host, int nodes);

}  // namespace muster::launcher
