#include "launcher/command_builder.h"

#include <cstdlib>
#include <regex>

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

// Ranks carry their own thread count, so they are not bound. Outside an allocation Open MPI counts physical cores and
// refuses more ranks than that; allowing more changes nothing while they fit.
Words mpirun_words(const LaunchSpec& spec) {
  Words words{spec.starter_program, "-n", std::to_string(spec.ranks)};
  if (!spec.in_allocation && spec.starter == Starter::kMpirun4) append(words, {"--oversubscribe"});
  if (!spec.in_allocation && spec.starter == Starter::kMpirun5) append(words, {"--map-by", ":OVERSUBSCRIBE"});
  append(words, {"--bind-to", "none"});
  return words;
}

// srun without --mpi=pmix gives every task a world of one; without -K the siblings of a dead task run on.
Words srun_words(const LaunchSpec& spec) {
  return {spec.starter_program,   "--mpi=pmix",      "--ntasks=" + std::to_string(spec.ranks),
          "--kill-on-bad-exit=1", "--cpu-bind=none", "--export=ALL"};
}

}  // namespace

Command build_command(const LaunchSpec& spec, int attempt) {
  Command command;
  command.environment = rank_environment(spec, attempt);
  if (spec.starter == Starter::kSrun) {
    command.argv = srun_words(spec);
    append(command.argv, spec.starter_options);
  } else {
    command.argv = mpirun_words(spec);
    for (const auto& [name, value] : command.environment) append(command.argv, {"-x", name});  // to other nodes, too
    if (spec.as_root) {
      command.environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1";
      command.environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1";
    }
  }
  append(command.argv, spec.wrapper);
  append(command.argv, {"--run-dir", spec.run_dir.string(), "--attempt", std::to_string(attempt), "--"});
  append(command.argv, spec.rank_program);
  return command;
}

std::optional<MpiVersion> parse_open_mpi_version(const std::string& text) {
  static const std::regex kPattern(R"(Open MPI\)?,?\s+v?((\d+)\.(\d+)[0-9a-z.]*))");
  std::smatch found;
  const std::string head = text.substr(0, 512);
  if (!std::regex_search(head, found, kPattern)) return std::nullopt;
  return MpiVersion{std::atoi(found[2].str().c_str()), std::atoi(found[3].str().c_str()), found[1]};
}

}  // namespace muster::launcher
