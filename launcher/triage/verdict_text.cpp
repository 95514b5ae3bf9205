#include "launcher/triage/verdict_text.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/step_folder.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/rank/run_folder.h"
#include "launcher/triage/config_change.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

std::string place(const Record& record) {
  return record.line > 0 ? fmt::format("{}:{}", record.file, record.line) : record.file;
}

std::string quote(const std::vector<const Record*>& evidence, const std::string& separator) {
  std::vector<std::string> lines;
  for (const Record* record : evidence)
    lines.push_back(place(*record) + ": " + record->text.substr(0, 400));
  return join(lines, separator);
}

// " on node17" for what is known, nothing for what is not.
template <typename T>
std::string part(fmt::format_string<const T&> format, const std::optional<T>& value) {
  return value ? fmt::format(format, *value) : "";
}

std::string end_of(const Culprit& culprit) {
  if (culprit.signal.value_or(0) != 0) return part(": signal {}", culprit.signal);
  if (culprit.exit_code == 0) return ": it left with code 0 before the end";
  return part(": exit code {}", culprit.exit_code);
}

std::string first_as_text(const Culprit& culprit) {
  if (!culprit.rank) return "No single rank failed first, as far as the logs say.\n";
  if (culprit.exit_code == static_cast<int>(ExitCode::kStoppedOnRequest))
    return "No rank failed: the run stopped on request with its checkpoint committed.\n";
  std::string text = fmt::format("Rank {}", *culprit.rank);
  text += part(" on {}", culprit.host) + " failed first" + end_of(culprit);
  text += part(", in phase {}", culprit.phase);
  text += part(", step {}", culprit.step);
  text += part(", micro-step {}", culprit.micro_step);
  text += part(", collective {}", culprit.collective);
  text += part(", bucket {}", culprit.bucket);
  if (!culprit.samples.empty())
    text += fmt::format(", samples {}", fmt::join(culprit.samples, ","));
  text += ".\n";
  return text + part("  It said: {}\n", culprit.error);
}

std::string nothing_as_text(const fs::path& run_dir) {
  return fs::is_regular_file(run_dir) ? "No failure in this log.\n"
                                      : "Nothing failed: every rank ended with code 0.\n";
}

std::string match_as_text(const RowMatch& match, const fs::path& run_dir) {
  const DiaryRow& row = *match.row;
  std::string text = fmt::format("\n{} ({}): {}\n", row.id, role_name(row.role), row.symptom);
  text += fmt::format("  evidence  {}\n", quote(match.evidence, "\n            "));
  text += fmt::format("  cause     {}\n  fix       {}\n", row.cause, row.fix);
  for (const ConfigChange& change : config_changes(row.fix, run_dir))
    text += "  config    " + to_text(change) + "\n";
  return text + fmt::format("  retry     {}\n", row.retry);
}

json match_as_json(const RowMatch& match, const fs::path& run_dir) {
  const DiaryRow& row = *match.row;
  json changes = json::array();
  for (const ConfigChange& c : config_changes(row.fix, run_dir))
    changes.push_back({{"key", c.key},
                       {"old", c.old_value},
                       {"new", c.new_value},
                       {"file", c.file},
                       {"line", c.line},
                       {"config", c.config}});
  json object{{"id", row.id},
              {"role", role_name(row.role)},
              {"evidence", quote(match.evidence, "\n")},
              {"symptom", row.symptom},
              {"cause", row.cause},
              {"fix", row.fix},
              {"retry", row.retry},
              {"config", changes}};
  object["rank"] = match.rank >= 0 ? json(match.rank) : json(nullptr);
  return object;
}

template <typename T>
json or_null(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json first_as_json(const Culprit& culprit) {
  return {{"rank", or_null(culprit.rank)},
          {"host", or_null(culprit.host)},
          {"phase", or_null(culprit.phase)},
          {"step", or_null(culprit.step)},
          {"micro_step", or_null(culprit.micro_step)},
          {"collective", or_null(culprit.collective)},
          {"bucket", or_null(culprit.bucket)},
          {"samples", culprit.samples},
          {"signal", or_null(culprit.signal)},
          {"exit_code", or_null(culprit.exit_code)},
          {"error", or_null(culprit.error)},
          {"time_unix", or_null(culprit.time_unix)}};
}

// Says where the next launch would begin: what is lost is not a matter of exit codes.
std::string newest_as_text(const fs::path& run_dir) {
  if (!fs::is_directory(run_dir / "checkpoints")) return "";
  const std::int64_t step = newest_checkpoint(run_dir);
  const std::vector<std::string> damaged = damaged_checkpoints(run_dir);
  if (step < 0 && !damaged.empty())
    return fmt::format(
        "\nEvery checkpoint is damaged and set aside ({}): the next launch stops as well, until "
        "one of them is restored under its name without {}, or --fresh begins anew (R-028).\n",
        join(damaged, ", "), kDamagedSuffix);
  if (step < 0) return "\nNo checkpoint is committed: the next launch begins at step 0.\n";
  return fmt::format("\nNewest checkpoint: step {}; the next launch resumes from it.\n", step);
}

}  // namespace

std::string verdict_as_json(const Verdict& verdict, const fs::path& run_dir) {
  json object{{"first", verdict.nothing_failed ? json(nullptr) : first_as_json(verdict.first)},
              {"matches", json::array()},
              {"notes", json::array()}};
  for (const RowMatch& match : verdict.matches)
    object["matches"].push_back(match_as_json(match, run_dir));
  for (const RowMatch& match : verdict.notes)
    object["notes"].push_back(match_as_json(match, run_dir));
  return object.dump(2, ' ', false, json::error_handler_t::replace);
}

std::string verdict_as_text(const Verdict& verdict, const fs::path& run_dir) {
  std::string text =
      verdict.nothing_failed ? nothing_as_text(run_dir) : first_as_text(verdict.first);
  for (const RowMatch& match : verdict.matches) text += match_as_text(match, run_dir);
  for (const RowMatch& match : verdict.notes) text += match_as_text(match, run_dir);
  if (!verdict.nothing_failed) text += newest_as_text(run_dir);
  return printable(text);
}

}  // namespace muster::launcher
