// The command line and environment that start the ranks. Pure functions, tested by comparing.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

struct Command {
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;  // on top of the launcher's own
};

Command build_command(const LaunchSpec& spec, int attempt);
// Another program in the ranks' places, without wrapper and black box: probes, preflight.
Command probe_command(const LaunchSpec& spec, const std::vector<std::string>& program);

struct MpiVersion {
  int major = 0;
  int minor = 0;
  std::string text;  // "4.1.4"
};
// Reads what `mpirun --version` or MPI_Get_library_version say. Returns nothing when it is not Open
// MPI.
std::optional<MpiVersion> parse_open_mpi_version(const std::string& text);

}  // namespace muster::launcher
