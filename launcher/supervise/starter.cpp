#include "launcher/supervise/starter.h"

#include <chrono>

#include "base/process/process_tree.h"
#include "launcher/supervise/command_builder.h"

namespace muster::launcher {

Starter ask_starter(const std::string& program, bool srun) {
  constexpr int kNewOptions = 5;  // from this version on PRRTE stands behind mpirun
  Starter starter;
  starter.program = program;
  const CapturedRun version = run_captured({program, "--version"}, std::chrono::seconds(20));
  starter.version = version.output.substr(0, version.output.find('\n'));
  const auto open_mpi = parse_open_mpi_version(version.output);
  if (srun)
    starter.kind = StarterKind::kSrun;
  else if (open_mpi && open_mpi->major >= kNewOptions)
    starter.kind = StarterKind::kMpirun5;
  return starter;
}

}  // namespace muster::launcher
