#include "launcher/commands/node_preflight.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/process/process_tree.h"
#include "base/text.h"
#include "launcher/plan/examine_plan.h"
#include "launcher/supervise/command_builder.h"

namespace muster::launcher {
namespace {

constexpr std::chrono::seconds kAllAnswerWithin{180};  // LibTorch from a cold shared disk
constexpr std::size_t kShownOutput = 600;

LaunchSpec one_per_node(const LaunchSpec& spec, int nodes) {
  LaunchSpec probe = spec;
  probe.ranks = nodes;
  probe.placement.ranks_per_node = 1;
  probe.placement.cpu_binding = configs::CpuBinding::kNone;
  for (Host& host : probe.placement.hosts) host.slots = 1;
  return probe;
}

std::vector<NodeFacts> read_answers(const fs::path& folder) {
  std::vector<NodeFacts> nodes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".json")
      nodes.push_back(facts_from_json(read_text(entry.path())));
  }
  std::ranges::sort(nodes, {}, &NodeFacts::host);
  return nodes;
}

Finding missing_nodes(const NodeAnswers& answers, int nodes) {
  std::vector<std::string> names;
  for (const NodeFacts& node : answers.nodes) names.push_back(node.host);
  const std::string tail =
      answers.output.substr(answers.output.size() - std::min(answers.output.size(), kShownOutput));
  return fail("R-007",
              fmt::format("{} of {} nodes answered: {}. The starter said: {}", answers.nodes.size(),
                          nodes, join(names, " "), tail),
              "a node is down, unreachable (ssh without a password?), or does not see the run "
              "folder");
}

}  // namespace

int count_nodes(const LaunchSpec& spec, const char* slurm_job_num_nodes) {
  if (!spec.placement.hosts.empty()) return static_cast<int>(spec.placement.hosts.size());
  if (!spec.placement.in_allocation || slurm_job_num_nodes == nullptr) return 1;
  return std::max(std::atoi(slurm_job_num_nodes), 1);
}

NodeAnswers ask_nodes(const LaunchSpec& spec, int nodes, std::vector<std::string> program) {
  const fs::path folder = spec.run_dir / "preflight";
  fs::remove_all(folder);
  fs::create_directories(folder);
  program.insert(program.end(), {"--facts", folder.string()});
  const Command command = probe_command(one_per_node(spec, nodes), program);
  const double asked = unix_now();
  const CapturedRun run = run_captured(command.argv, kAllAnswerWithin, command.environment);
  return {read_answers(folder), run.output, asked, unix_now()};
}

int ranks_on(const LaunchSpec& spec, const std::string& host, int nodes) {
  const auto known = std::ranges::find(spec.placement.hosts, host, &Host::name);
  if (known != spec.placement.hosts.end()) return std::min(known->slots, spec.ranks);
  return spec.placement.ranks_per_node > 0 ? spec.placement.ranks_per_node
                                           : (spec.ranks + nodes - 1) / nodes;
}

std::vector<Finding> judge_nodes(const NodeAnswers& answers, const LaunchSpec& spec, int nodes,
                                 const configs::Config& config) {
  std::vector<Finding> all;
  for (const NodeFacts& node : answers.nodes) {
    const int ranks_here = ranks_on(spec, node.host, nodes);
    for (auto findings : {judge_machine(node), judge_run(node, config, ranks_here),
                          examine_plan(config, node, spec.ranks, ranks_here)}) {
      for (Finding& finding : findings) {
        finding.host = node.host;
        all.push_back(std::move(finding));
      }
    }
  }
  if (static_cast<int>(answers.nodes.size()) < nodes) all.push_back(missing_nodes(answers, nodes));
  for (Finding& finding : judge_equality(answers.nodes)) all.push_back(std::move(finding));
  if (answers.asked_unix > 0)
    all.push_back(judge_clocks(answers.nodes, answers.asked_unix, answers.answered_unix));
  return all;
}

}  // namespace muster::launcher
