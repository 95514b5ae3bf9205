#include "launcher/supervise/submit.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "base/error.h"
#include "base/pattern.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

std::vector<std::string> all_words(const SubmitSpec& spec) {
  std::vector<std::string> words = {spec.config.string(),
                                    spec.run_dir.string(),
                                    spec.work_dir.string(),
                                    spec.muster.string(),
                                    spec.time,
                                    spec.partition,
                                    spec.account,
                                    spec.job_name,
                                    spec.container};
  for (const auto* list : {&spec.modules, &spec.sbatch, &spec.setup, &spec.overrides})
    words.insert(words.end(), list->begin(), list->end());
  for (const auto& [name, value] : spec.environment) words.push_back(value);
  return words;
}

void refuse_line_breaks(const SubmitSpec& spec) {
  for (const std::string& word : all_words(spec))
    if (word.find_first_of("\r\n") != std::string::npos)
      throw UsageError("submit: line break in \"" + word + "\"");
}

// #SBATCH lines are not read by a shell: SLURM splits them at blanks, ends them at # and knows
// quotes, but not how to quote a quote.
std::string sbatch_value(const std::string& option, const std::string& value) {
  if (value.find_first_of("\"'\\") != std::string::npos)
    throw UsageError(
        fmt::format("submit: --{}: a #SBATCH line cannot hold the quotes or backslashes of: {}",
                    option, value));
  return value.find_first_of(" \t#") == std::string::npos ? value : '"' + value + '"';
}

std::string directive(const std::string& option, const std::string& value) {
  if (value.empty()) return "";
  return fmt::format("#SBATCH --{}={}\n", option, sbatch_value(option, value));
}

// In the name of a log SLURM replaces %j and its like.
std::string literal_percent(const std::string& path) {
  std::string literal;
  for (const char c : path) literal += c == '%' ? "%%" : std::string(1, c);
  return literal;
}

// These have their own option, or the launcher depends on them.
const std::map<std::string_view, std::string_view>& own_options() {
  static const std::map<std::string_view, std::string_view> kOwn{
      {"job-name", "--job-name"},
      {"J", "--job-name"},
      {"nodes", "--nodes"},
      {"N", "--nodes"},
      {"time", "--time"},
      {"t", "--time"},
      {"partition", "--partition"},
      {"p", "--partition"},
      {"account", "--account"},
      {"A", "--account"},
      {"gpus-per-node", "--gpus-per-node"},
      {"cpus-per-gpu", "--cpus-per-gpu"},
      {"array", "--chain"},
      {"a", "--chain"},
      {"ntasks", "--ranks-per-node"},
      {"n", "--ranks-per-node"},
      {"ntasks-per-node", "--ranks-per-node"},
      {"signal", "--grace"},
      {"requeue", "--chain"},
      {"no-requeue", "--chain"},
      {"chdir", "the folder you submit from"},
      {"D", "the folder you submit from"},
      {"output", "run.dir"},
      {"o", "run.dir"},
      {"open-mode", "nothing: logs are appended to"},
      {"wrap", "nothing: the script is muster's"}};
  return kOwn;
}

// Returns "#SBATCH --qos=high\n" for "--qos=high", "--qos high" or "qos=high".
std::string passed_on(const std::string& words) {
  const std::size_t dashes = words.find_first_not_of('-');
  const std::size_t end = words.find_first_of("= \t", dashes);
  if (dashes == std::string::npos || dashes > 2 || end == dashes)
    throw UsageError(
        fmt::format("submit: --sbatch \"{}\": wanted an option, as in --qos=high", words));
  const std::string name = words.substr(dashes, end - dashes);
  if (const auto own = own_options().find(name); own != own_options().end())
    throw UsageError(fmt::format("submit: --sbatch \"{}\": muster sets {} itself; use {}", words,
                                 name, own->second));
  const std::string dash = dashes == 1 || (dashes == 0 && name.size() == 1) ? "-" : "--";
  const std::size_t value = words.find_first_not_of("= \t", std::min(end, words.size()));
  if (value == std::string::npos) return fmt::format("#SBATCH {}{}\n", dash, name);
  return fmt::format("#SBATCH {}{}{}{}\n", dash, name, dash == "-" ? " " : "=",
                     sbatch_value(name, words.substr(value)));
}

std::string resources(const SubmitSpec& spec) {
  std::string lines = directive("time", spec.time) + directive("partition", spec.partition) +
                      directive("account", spec.account);
  if (spec.gpus_per_node > 0)
    lines += directive("gpus-per-node", std::to_string(spec.gpus_per_node));
  if (spec.cpus_per_gpu > 0)
    lines += directive("cpus-per-gpu", std::to_string(spec.cpus_per_gpu));
  else
    lines += "#SBATCH --exclusive\n#SBATCH --mem=0\n";
  for (const std::string& words : spec.sbatch) lines += passed_on(words);
  return lines;
}

// A chain is a job array that runs one element at a time; the launcher cancels the rest when the
// run is over.
std::string again(const SubmitSpec& spec) {
  return spec.chain == 0
             ? "#SBATCH --requeue\n"
             : fmt::format("#SBATCH --no-requeue\n#SBATCH --array=1-{}%1\n", spec.chain);
}

std::string environment(const SubmitSpec& spec) {
  std::string lines;
  if (spec.chain > 0) lines += "export MUSTER_CHAIN=$SLURM_ARRAY_JOB_ID\n";
  for (const auto& [name, value] : spec.environment)
    lines += fmt::format("export {}={}\n", name, shell_quote(value));
  for (const std::string& line : spec.setup) lines += line + "\n";
  for (const std::string& module : spec.modules)
    lines += "module load " + shell_quote(module) + "\n";
  return lines;
}

std::string launch_options(const SubmitSpec& spec) {
  std::string options;
  if (!spec.container.empty()) options += " --container " + shell_quote(spec.container);
  for (const std::string& setting : spec.overrides) options += " --set " + shell_quote(setting);
  return options;
}

int ranks_per_node(const SubmitSpec& spec) {
  return spec.ranks_per_node > 0 ? spec.ranks_per_node : spec.gpus_per_node;
}

std::string log_pattern(const SubmitSpec& spec) {
  const char* name = spec.chain == 0 ? "slurm-%j.out" : "slurm-%A_%a.out";
  return literal_percent((spec.run_dir / "logs").string()) + "/" + name;
}

void check_time(const SubmitSpec& spec) {
  if (spec.grace_s < 1)
    throw UsageError(fmt::format("submit: --grace {}: at least 1 second", spec.grace_s));
  if (spec.time.empty()) return;
  const std::optional<long> seconds = seconds_of_time(spec.time);
  if (!seconds)
    throw UsageError(fmt::format("submit: --time {}: wanted HH:MM:SS or D-HH:MM:SS", spec.time));
  if (*seconds <= spec.grace_s)
    throw UsageError(fmt::format(
        "submit: --time {} is over before the checkpoint is asked for, {} s earlier (--grace)",
        spec.time, spec.grace_s));
}

}  // namespace

std::optional<long> seconds_of_time(const std::string& time) {
  static const Pattern kForms(R"(\A(?:(?:(\d+)-(\d{1,2})(?::([0-5]?\d))?(?::([0-5]?\d))?))"
                              R"(|(?:(?:(\d+):)?(\d+):([0-5]\d))|(\d+))\z)");
  const auto part = kForms.first_in(time);
  if (!part) return std::nullopt;
  const auto number = [&](std::size_t group) {
    return part->has(group) ? std::stol(part->text(group)) : 0L;
  };
  if (part->has(8)) return 60 * number(8);
  if (part->has(1)) return 86400 * number(1) + 3600 * number(2) + 60 * number(3) + number(4);
  if (part->has(5) && number(6) > 59) return std::nullopt;
  return 3600 * number(5) + 60 * number(6) + number(7);
}

std::string shell_quote(std::string_view word) {
  const auto safe = [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("_-./=:,+@%").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, safe)) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

void check_submit(const SubmitSpec& spec) {
  refuse_line_breaks(spec);
  if (spec.nodes < 1) throw UsageError(fmt::format("submit: --nodes {}: at least 1", spec.nodes));
  if (spec.gpus_per_node < 0 || spec.ranks_per_node < 0 || ranks_per_node(spec) < 1)
    throw UsageError(fmt::format(
        "submit: --gpus-per-node {} --ranks-per-node {}: wanted GPUs, one rank each, or no GPUs "
        "and --ranks-per-node of at least 1",
        spec.gpus_per_node, spec.ranks_per_node));
  if (spec.min_nodes < 0 || spec.min_nodes > spec.nodes)
    throw UsageError(
        fmt::format("submit: --min-nodes {} is not within 1..{}", spec.min_nodes, spec.nodes));
  if (spec.cpus_per_gpu > 0 && spec.gpus_per_node == 0)
    throw UsageError("submit: --cpus-per-gpu without GPUs; leave it out to get whole nodes");
  if (spec.chain < 0) throw UsageError(fmt::format("submit: --chain {}: at least 1", spec.chain));
  check_time(spec);
}

std::string fill_template(std::string_view text, const std::map<std::string, std::string>& values) {
  std::string filled;
  std::set<std::string> used;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = text.find('@', at);
    const std::size_t close = open == std::string_view::npos
                                  ? open
                                  : text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", open + 1);
    filled += text.substr(at, std::min(open, text.size()) - at);
    if (open == std::string_view::npos) break;
    const bool placeholder =
        close != std::string_view::npos && text[close] == '@' && close > open + 1;
    if (!placeholder) {  // an ordinary @
      filled += '@';
      at = open + 1;
      continue;
    }
    const std::string name(text.substr(open + 1, close - open - 1));
    const auto value = values.find(name);
    if (value == values.end())
      throw UsageError(fmt::format("sbatch template: nothing to put in place of @{}@", name));
    filled += value->second;
    used.insert(name);
    at = close + 1;
  }
  for (const auto& [name, value] : values)
    if (!used.contains(name)) throw UsageError(fmt::format("sbatch template: lost its @{}@", name));
  return filled;
}

void add_site(SubmitSpec& spec, const Site& site) {
  if (spec.partition.empty()) spec.partition = site.partition;
  if (spec.account.empty()) spec.account = site.account;
  spec.modules.insert(spec.modules.begin(), site.modules.begin(), site.modules.end());
  spec.sbatch.insert(spec.sbatch.begin(), site.sbatch.begin(), site.sbatch.end());
  spec.setup.insert(spec.setup.begin(), site.setup.begin(), site.setup.end());
  spec.environment.insert(spec.environment.begin(), site.environment.begin(),
                          site.environment.end());
}

std::string render_sbatch(std::string_view sbatch_template, const SubmitSpec& spec) {
  check_submit(spec);
  const std::string nodes = spec.min_nodes == 0 || spec.min_nodes == spec.nodes
                                ? std::to_string(spec.nodes)
                                : fmt::format("{}-{}", spec.min_nodes, spec.nodes);
  return fill_template(sbatch_template,
                       {{"JOB_NAME", sbatch_value("job-name", spec.job_name)},
                        {"NODES", nodes},
                        {"RESOURCES", resources(spec)},
                        {"AGAIN", again(spec)},
                        {"LOG", sbatch_value("output", log_pattern(spec))},
                        {"WORK_DIR", sbatch_value("chdir", spec.work_dir.string())},
                        {"ENVIRONMENT", environment(spec)},
                        {"MUSTER", shell_quote(spec.muster.string())},
                        {"CONFIG", shell_quote(spec.config.string())},
                        {"RANKS_PER_NODE", std::to_string(ranks_per_node(spec))},
                        {"GRACE", std::to_string(spec.grace_s)},
                        {"LAUNCH_OPTIONS", launch_options(spec)}});
}

}  // namespace muster::launcher
