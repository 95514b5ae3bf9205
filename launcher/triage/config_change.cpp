#include "launcher/triage/config_change.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/files.h"
#include "base/pattern.h"
#include "configs/locate.h"
#include "launcher/rank/side_file.h"

namespace muster::launcher {
namespace {

// How the run was started: its config and the --set values on top of it.
struct StartedWith {
  fs::path config;
  std::vector<std::string> overrides;
};

StartedWith started_with(const fs::path& run_dir) {
  StartedWith found{run_dir / "config.yaml", {}};
  const nlohmann::json record = read_side_file(run_dir / "launch.json");
  std::vector<std::string> words;
  for (const nlohmann::json& word : list(record, "command"))
    if (word.is_string()) words.push_back(word);
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "train" && fs::is_regular_file(words[i + 1])) found.config = words[i + 1];
    if (words[i] == "--set") found.overrides.push_back(words[i + 1]);
  }
  return found;
}

// Returns the value of the last --set of this key.
std::optional<std::string> set_by_hand(const StartedWith& run, const std::string& key) {
  for (auto setting = run.overrides.rbegin(); setting != run.overrides.rend(); ++setting)
    if (setting->starts_with(key + "=")) return setting->substr(key.size() + 1);
  return std::nullopt;
}

// "/2" of "4096" is "2048"; anything else is taken as it stands.
std::string reckon(const std::string& old_value, const std::string& wanted) {
  const bool relative = wanted.size() > 1 && (wanted[0] == '/' || wanted[0] == '*');
  char* end = nullptr;
  const double old_number = std::strtod(old_value.c_str(), &end);
  if (!relative || end == old_value.c_str() || *end != '\0') return relative ? "" : wanted;
  const double factor = std::atof(wanted.c_str() + 1);
  const bool whole = old_value.find_first_of(".eE") == std::string::npos;
  if (!whole)
    return fmt::format("{}", wanted[0] == '/' ? old_number / factor : old_number * factor);
  const double value =
      wanted[0] == '/' ? std::max(1.0, std::floor(old_number / factor)) : old_number * factor;
  return fmt::format("{:.0f}", value);
}

}  // namespace

std::vector<ConfigChange> config_changes(const std::string& fix, const fs::path& run_dir) {
  std::vector<ConfigChange> changes;
  if (!fs::is_directory(run_dir)) return changes;
  const StartedWith run = started_with(run_dir);
  static const Pattern kSpan("`([a-z_0-9]+(?:\\.[a-z_0-9]+)+)(?:: ([^`]+))?`",
                             Pattern::Letters::kAsWritten);
  for (const Pattern::Match& span : kSpan.all_in(fix)) {
    ConfigChange change{span.text(1), "", "", "", 0, run.config.string()};
    if (const auto by_hand = set_by_hand(run, change.key)) {
      change.old_value = *by_hand;
    } else if (const auto place = configs::locate(run.config, change.key)) {
      change.old_value = place->value;
      change.file = place->file;
      change.line = place->line;
    } else {
      continue;
    }
    change.new_value = reckon(change.old_value, span.text(2));
    if (change.new_value != change.old_value) changes.push_back(std::move(change));
  }
  return changes;
}

std::string to_text(const ConfigChange& change) {
  const std::string values =
      change.new_value.empty()
          ? fmt::format("{}: {} (now)", change.key, change.old_value)
          : fmt::format("{}: {} -> {}", change.key, change.old_value, change.new_value);
  if (change.file.empty()) return fmt::format("--set {}", values);
  if (change.file == change.config)
    return fmt::format("{}:{}: {}", change.file, change.line, values);
  return fmt::format("{}: {}   (add it; inherited from {}:{})", change.config, values, change.file,
                     change.line);
}

}  // namespace muster::launcher
