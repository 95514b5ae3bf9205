// What every job of a site needs, once: the file that MUSTER_SITE names, else site.yaml in
// slurm/ below the current folder, else ~/.config/muster/site.yaml.
//
//   partition: gpu
//   account: vision
//   modules: [openmpi/4.1, cuda/13.0]
//   sbatch: ["--qos=high", "--constraint=h100"]      # as submit's --sbatch
//   setup: ["source /opt/site/profile.sh"]            # lines of bash, before the modules
//   environment: {NCCL_SOCKET_IFNAME: ib0}
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster::launcher {

struct Site {
  std::string partition;
  std::string account;
  std::vector<std::string> modules;
  std::vector<std::string> sbatch;
  std::vector<std::string> setup;
  std::vector<std::pair<std::string, std::string>> environment;  // in the file's order
};

// Nothing when a site has none. Throws UsageError when MUSTER_SITE names a file that is not there.
std::optional<std::filesystem::path> find_site_file();

// Throws ConfigError with all that is wrong, each with file:line.
Site read_site(const std::filesystem::path& file);

}  // namespace muster::launcher
