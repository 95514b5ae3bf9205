// What triage says: to people, to scripts, and to the diary itself.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/pattern.h"
#include "base/text.h"
#include "launcher/triage/config_change.h"
#include "launcher/triage/triage.h"

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

std::string get(const FirstFailed& first, const std::string& key) {
  const auto found = first.find(key);
  return found == first.end() ? "" : found->second;
}

std::string first_as_text(const FirstFailed& first) {
  if (!first.contains("rank")) return "No single rank failed first, as far as the logs say.\n";
  if (get(first, "exit_code") == "75")
    return "No rank failed: the run stopped on request with its checkpoint committed.\n";
  const auto part = [&](const char* format, const char* key) {
    return first.contains(key) ? fmt::format(fmt::runtime(format), get(first, key)) : std::string();
  };
  std::string text = "Rank " + get(first, "rank") + part(" on {}", "host") + " failed first";
  text += get(first, "signal") != "0" && first.contains("signal")
              ? part(": signal {}", "signal")
              : part(": exit code {}", "exit_code");
  text += part(", in phase {}", "phase") + part(", step {}", "step") +
          part(", micro-step {}", "micro_step");
  text += part(", collective {}", "collective") + part(", bucket {}", "bucket") +
          part(", samples {}", "samples") + ".\n";
  return text + part("  It said: {}\n", "error");
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

json first_as_json(const FirstFailed& first) {
  json object;
  for (const char* key : {"rank", "host", "phase", "step", "micro_step", "collective", "bucket",
                          "signal", "exit_code", "error", "time_unix"}) {
    const std::string value = get(first, key);
    const bool text = std::string_view(key) == "host" || std::string_view(key) == "phase" ||
                      std::string_view(key) == "error";
    if (value.empty())
      object[key] = nullptr;
    else if (text)
      object[key] = value;
    else if (std::string_view(key) == "time_unix")
      object[key] = std::atof(value.c_str());
    else
      object[key] = std::atoll(value.c_str());
  }
  object["samples"] = json::array();
  for (const std::string& id : split(get(first, "samples"), ','))
    if (!id.empty()) object["samples"].push_back(std::atoll(id.c_str()));
  return object;
}

// "2026-11-21 01:02:03.456 E [rank 1/4 node17] what happened" -> "what happened"
std::string without_head(const std::string& line) {
  static const Pattern kHead(
      R"(^(\d{4}-\d\d-\d\d[ T][\d:.]+ )?([DIWE] )?(\[[^\]]*\] )?(muster: )?)",
      Pattern::Letters::kAsWritten);
  const auto head = kHead.first_in(line);
  return head ? line.substr(head->end) : line;
}

// An expression for this line and its like: numbers differ from run to run, the words stay.
std::string generalised(const std::string& line) {
  constexpr std::size_t kEnough = 90;
  std::string pattern;
  for (std::size_t i = 0; i < line.size() && pattern.size() < kEnough; ++i) {
    const char c = line[i];
    if (c >= '0' && c <= '9') {
      if (!pattern.ends_with("\\d+")) pattern += "\\d+";
    } else if (c == '|' || c == '`' || static_cast<unsigned char>(c) < 32 ||
               static_cast<unsigned char>(c) > 126)
      pattern += '.';
    else if (std::string_view("\\^$.[]()?*+{}").find(c) != std::string_view::npos)
      pattern += std::string("\\") + c;
    else
      pattern += c;
  }
  return pattern;
}

std::string next_id(const Diary& diary) {
  int highest = 0;
  for (const DiaryRow& row : diary.rows)
    if (row.id.starts_with("N-")) highest = std::max(highest, std::atoi(row.id.c_str() + 2));
  return fmt::format("N-{:03}", highest + 1);
}

std::string cell(std::string text) {
  for (char& c : text)
    if (c == '|' || c == '`' || c == '\n') c = ' ';
  return text.substr(0, 160);
}

}  // namespace

std::string draft_row(const Evidence& evidence, const Verdict& verdict, const Diary& diary) {
  const std::string said = without_head(get(verdict.first, "error")),
                    signal = get(verdict.first, "signal"), code = get(verdict.first, "exit_code");
  std::string clause = "rank: /" + generalised(said) + "/";
  if (said.empty() && !signal.empty() && signal != "0")
    clause = "status: signal=" + signal;
  else if (said.empty() && !code.empty())
    clause = "status: exit_code=" + code;
  else if (said.empty() && !evidence.records.empty())
    clause = "rank: /" + generalised(without_head(evidence.records.back().text)) + "/";
  else
    for (const Record& r : evidence.records)
      if (r.text == get(verdict.first, "error") && r.source != Source::kText)
        clause = fmt::format("{}: /{}/", source_name(r.source), generalised(said));
  const std::string symptom =
      said.empty() ? fmt::format("rank {} ended, signal {}, exit code {}, without a word",
                                 get(verdict.first, "rank"), signal, code)
                   : said;
  return fmt::format("| {} | {} | `{}` | root | not known yet | not known yet | never | - |",
                     next_id(diary), cell(symptom), clause);
}

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
  std::string text = verdict.nothing_failed ? "Nothing failed: every rank ended with code 0.\n"
                                            : first_as_text(verdict.first);
  for (const RowMatch& match : verdict.matches) text += match_as_text(match, run_dir);
  for (const RowMatch& match : verdict.notes) text += match_as_text(match, run_dir);
  return text;
}

}  // namespace muster::launcher
