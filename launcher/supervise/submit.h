// The sbatch script of a run: slurm/train.sbatch with its @PLACEHOLDERS@ filled in. Pure; the
// command writes and submits it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/supervise/site.h"

namespace muster::launcher {

struct SubmitSpec {
  // Absolute paths.
  std::filesystem::path config;
  std::filesystem::path run_dir;
  std::filesystem::path work_dir;
  std::filesystem::path muster;

  int nodes = 0;
  // 0: exactly `nodes`; fewer lets a requeued job start while a node is down.
  int min_nodes = 0;
  int gpus_per_node = 0;   // 0: a CPU run, no GPUs are asked for
  int ranks_per_node = 0;  // 0: one per GPU
  int cpus_per_gpu = 0;    // 0: whole nodes
  // 0: one job that is requeued; N: N jobs one after the other, where requeueing is forbidden.
  int chain = 0;
  int grace_s = 0;  // the checkpoint is asked for this long before the time limit

  // "" leaves it to the site; job_name must be set.
  std::string time;
  std::string partition;
  std::string account;
  std::string job_name;
  std::string container;
  std::vector<std::string> modules;
  std::vector<std::string> sbatch;  // further options of sbatch, each a line: "--qos=high"
  std::vector<std::string> setup;   // lines of bash, before the modules are loaded
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> overrides;
};

// What the site asks of every job comes before what this one asks; where there can be one value
// only, this one's counts.
void add_site(SubmitSpec& spec, const Site& site);

// Throws UsageError for impossible counts, a time SLURM would refuse or that ends before grace_s, a
// line break, a value that no #SBATCH line can hold, and an option of sbatch that muster sets
// itself.
void check_submit(const SubmitSpec& spec);

// Replaces every @NAME@ by its value. A placeholder without a value, and a value without a
// placeholder, are UsageErrors.
std::string fill_template(std::string_view text, const std::map<std::string, std::string>& values);

std::string render_sbatch(std::string_view sbatch_template, const SubmitSpec& spec);

// "90", "HH:MM:SS", "MM:SS", "D-HH[:MM[:SS]]", as sbatch reads --time; nothing when it is none of
// them.
std::optional<long> seconds_of_time(const std::string& time);

std::string shell_quote(std::string_view word);  // only when it needs to be

}  // namespace muster::launcher
