#include "launcher/supervise/command_builder.h"

#include <cstdlib>

#include "base/pattern.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

using Words = std::vector<std::string>;

void append(Words& to, const Words& more) { to.insert(to.end(), more.begin(), more.end()); }

std::map<std::string, std::string> rank_environment(const LaunchSpec& spec, int attempt) {
  std::map<std::string, std::string> all{{"OMP_NUM_THREADS", std::to_string(spec.threads_per_rank)},
                                         {"MUSTER_RUN_DIR", spec.run_dir.string()},
                                         {"MUSTER_ATTEMPT", std::to_string(attempt)}};
  for (const auto& [name, value] : spec.environment) all[name] = value;
  return all;
}

// Says where ranks go and what they are bound to, in Open MPI's words: "ppr:8:node:PE=4",
// "slot:PE=4", "". Version 4 takes --oversubscribe beside it, version 5 as one more modifier.
std::string mapping(const LaunchSpec& spec) {
  std::string map;
  if (spec.placement.ranks_per_node > 0)
    map = "ppr:" + std::to_string(spec.placement.ranks_per_node) + ":node";
  else if (spec.placement.cpu_binding == configs::CpuBinding::kCore)
    map = "slot";
  if (spec.placement.cpu_binding == configs::CpuBinding::kCore)
    map += ":PE=" + std::to_string(spec.threads_per_rank);
  return map;
}

// Outside an allocation and without hosts Open MPI counts physical cores and refuses more ranks
// than that; allowing more changes nothing while they fit.
Words mpirun_words(const LaunchSpec& spec) {
  const bool oversubscribe = !spec.placement.in_allocation && spec.placement.hosts.empty();
  Words words{spec.starter.program, "-n", std::to_string(spec.ranks)};
  if (!spec.placement.hosts.empty()) append(words, {"--host", host_list(spec.placement.hosts)});
  std::string map = mapping(spec);
  if (oversubscribe && spec.starter.kind == StarterKind::kMpirun4)
    append(words, {"--oversubscribe"});
  if (oversubscribe && spec.starter.kind == StarterKind::kMpirun5) map += ":OVERSUBSCRIBE";
  if (!map.empty()) append(words, {"--map-by", map});
  append(words, {"--bind-to", std::string(configs::name_of(spec.placement.cpu_binding))});
  return words;
}

std::string srun_binding(const LaunchSpec& spec) {
  switch (spec.placement.cpu_binding) {
    case configs::CpuBinding::kNone: return "none";
    case configs::CpuBinding::kCore: return "cores";
    case configs::CpuBinding::kSocket: return "sockets";
    case configs::CpuBinding::kNuma: return "ldoms";
  }
  return "none";
}

// srun without --mpi=pmix gives every task a world of one; without -K the siblings of a dead task
// run on.
Words srun_words(const LaunchSpec& spec) {
  Words words{spec.starter.program, "--mpi=pmix", "--ntasks=" + std::to_string(spec.ranks)};
  if (spec.placement.ranks_per_node > 0)
    words.push_back("--ntasks-per-node=" + std::to_string(spec.placement.ranks_per_node));
  if (spec.placement.cpu_binding == configs::CpuBinding::kCore)
    words.push_back("--cpus-per-task=" + std::to_string(spec.threads_per_rank));
  Words names;
  for (const Host& host : spec.placement.hosts) names.push_back(host.name);
  if (!names.empty()) words.push_back("--nodelist=" + join(names, ","));
  if (!spec.placement.avoid.empty())
    words.push_back("--exclude=" + join(spec.placement.avoid, ","));
  append(words, {"--kill-on-bad-exit=1", "--cpu-bind=" + srun_binding(spec), "--export=ALL"});
  append(words, spec.starter.options);
  return words;
}

// A lost machine says nothing: without keep-alives Open MPI's daemons wait five minutes for it.
// Those of version 5 are PRRTE's, whose settings have a prefix of their own.
void find_lost_hosts_soon(std::map<std::string, std::string>& environment, StarterKind kind) {
  const std::string prefix = kind == StarterKind::kMpirun5 ? "PRTE_MCA_" : "OMPI_MCA_";
  environment[prefix + "oob_tcp_keepalive_time"] = "5";
  environment[prefix + "oob_tcp_keepalive_intvl"] = "2";
  environment[prefix + "oob_tcp_keepalive_probes"] = "3";
}

// Returns the starter with all its options; `environment` is what processes on other nodes are to
// get.
Command start_words(const LaunchSpec& spec, std::map<std::string, std::string> environment) {
  if (spec.starter.kind == StarterKind::kSrun) return {srun_words(spec), std::move(environment)};
  Command command{mpirun_words(spec), std::move(environment)};
  for (const auto& [name, value] : command.environment) append(command.argv, {"-x", name});
  if (spec.placement.hosts.size() > 1) find_lost_hosts_soon(command.environment, spec.starter.kind);
  if (spec.as_root) {
    command.environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1";
    command.environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1";
  }
  return command;
}

}  // namespace

Command build_command(const LaunchSpec& spec, int attempt) {
  Command command = start_words(spec, rank_environment(spec, attempt));
  append(command.argv, spec.wrapper);
  append(command.argv, {"--run-dir", spec.run_dir.string(), "--attempt", std::to_string(attempt)});
  if (spec.placement.one_gpu) append(command.argv, {"--one-gpu"});
  if (spec.watch.local_boxes) append(command.argv, {"--local-box"});
  if (!spec.watch.beat_token.empty()) append(command.argv, {"--beats", spec.watch.beat_token});
  append(command.argv, {"--"});
  append(command.argv, spec.rank_program);
  for (const std::string& setting : rung_overrides(spec.restart))
    append(command.argv, {"--set", setting});
  if (reorders_data(spec.restart)) append(command.argv, {"--restart-epoch"});
  return command;
}

Command probe_command(const LaunchSpec& spec, const std::vector<std::string>& program) {
  Command command = start_words(spec, spec.environment);
  append(command.argv, program);
  return command;
}

std::optional<MpiVersion> parse_open_mpi_version(const std::string& text) {
  static const Pattern kPattern(R"(Open MPI\)?,?\s+v?((\d+)\.(\d+)[0-9a-z.]*))",
                                Pattern::Letters::kAsWritten);
  const std::string head = text.substr(0, 512);
  const auto found = kPattern.first_in(head);
  if (!found) return std::nullopt;
  return MpiVersion{std::atoi(found->text(2).c_str()), std::atoi(found->text(3).c_str()),
                    found->text(1)};
}

}  // namespace muster::launcher
