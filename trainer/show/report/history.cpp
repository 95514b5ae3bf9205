#include "trainer/show/report/history.h"

#include <fmt/core.h>

#include "base/json.h"
#include "base/text.h"

namespace muster::trainer {
namespace {

using nlohmann::json;

const json& list_of(const json& object, const char* key) {
  static const json kNone = json::array();
  if (!object.is_object()) return kNone;
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : kNone;
}

std::string text_of(const json& object, const char* key) {
  return escape_html(member_or<std::string>(object, key, ""));
}

std::string attempts_table(const json& attempts) {
  std::string body;
  for (std::size_t i = 0; i < attempts.size(); ++i) {
    const json& one = attempts[i];
    body += fmt::format(
        "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n", i + 1,
        text_of(one, "ending"), human_seconds(member_or<double>(one, "seconds", 0)),
        text_of(one, "what"));
  }
  if (body.empty()) return "";
  return "<table><tr><th class=\"n\">attempt</th><th>ended</th><th class=\"n\">after</th><th>"
         "why</th></tr>\n" +
         body + "</table>";
}

std::string changes_list(const json& changes) {
  std::string items;
  for (const json& change : changes)
    items +=
        fmt::format("<li>before attempt {}: {}</li>",
                    member_or<std::int64_t>(change, "attempt", 0) + 1, text_of(change, "what"));
  return items.empty() ? "" : "<p>The launcher changed:</p><ul>" + items + "</ul>";
}

std::string changed_keys(const json& resume) {
  std::string keys;
  for (const json& change : list_of(resume, "changed"))
    keys += fmt::format("<li><code>{}</code>: {} &rarr; {}</li>", text_of(change, "key"),
                        text_of(change, "from"), text_of(change, "to"));
  return keys.empty() ? "nothing" : "<ul>" + keys + "</ul>";
}

std::string resume_row(const json& resume) {
  const auto ranks = member_or<std::int64_t>(resume, "ranks", 0);
  const auto before = member_or<std::int64_t>(resume, "ranks_before", ranks);
  return fmt::format(
      "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
      member_or<std::int64_t>(resume, "step", 0), member_or<std::int64_t>(resume, "epoch", 0),
      before == ranks ? fmt::format("{}", ranks) : fmt::format("{} &rarr; {}", before, ranks),
      changed_keys(resume));
}

std::string resumes_table(const std::vector<json>& resumes) {
  if (resumes.empty()) return "";
  std::string body;
  for (const json& resume : resumes) body += resume_row(resume);
  return "<table><tr><th class=\"n\">resumed at step</th><th class=\"n\">epoch</th><th "
         "class=\"n\">ranks</th><th>what changed in the config</th></tr>\n" +
         body + "</table>";
}

}  // namespace

std::int64_t num_restarts(const RunFolder& run) {
  const std::size_t attempts = list_of(run.launch, "attempts").size();
  return attempts == 0 ? 0 : static_cast<std::int64_t>(attempts) - 1;
}

std::string history_section(const RunFolder& run) {
  const json& attempts = list_of(run.launch, "attempts");
  const bool smooth =
      attempts.size() <= 1 && run.resumes.empty() &&
      (attempts.empty() || member_or<std::string>(attempts.front(), "ending", "") == "done");
  if (smooth) return "";
  return "<h2>Restarts and resumes</h2>\n<div class=\"card wide history\">" +
         attempts_table(attempts) + changes_list(list_of(run.launch, "changes")) +
         resumes_table(run.resumes) + "</div>\n";
}

}  // namespace muster::trainer
