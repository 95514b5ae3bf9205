// Leads from the words of a fix to the line of YAML it is about.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace muster::launcher {

struct ConfigChange {
  std::string key;
  std::string old_value;
  std::string new_value;  // "": the fix names the key but no value
  std::string file;       // of the line that decides the value now; "": the command line (--set)
  int line = 0;
  std::string config;  // the file to change: the run's own, not `file` when the key is inherited
};

// Returns one change per `section.key` or `section.key: value` in backticks of the fix; a value of
// /2 or *2 is reckoned from the present one. The run's config is the one its launch.json names,
// else run_dir/config.yaml. Keys the config lacks are left out.
std::vector<ConfigChange> config_changes(const std::string& fix,
                                         const std::filesystem::path& run_dir);

std::string to_text(
    const ConfigChange& change);  // "shapes.yaml:57: batch.max_tokens: 4096 -> 2048"

}  // namespace muster::launcher
