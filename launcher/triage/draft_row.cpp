#include "launcher/triage/draft_row.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/pattern.h"

namespace muster::launcher {
namespace {

// "2026-11-21 01:02:03.456 E [rank 1/4 node17] what happened" -> "what happened"
std::string without_head(const std::string& line) {
  static const Pattern kHead(
      R"(^(\d{4}-\d\d-\d\d[ T][\d:.]+ )?([DIWE] )?(\[[^\]]*\] )?(muster: )?)",
      Pattern::Letters::kAsWritten);
  const auto head = kHead.first_in(line);
  return head ? line.substr(head->end) : line;
}

// Returns an expression for this line and its like: numbers differ from run to run, the words stay.
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

// A pattern of rules and dashes would match every program's output: words are what tells one line
// from another.
bool has_words(std::string_view line) {
  constexpr std::ptrdiff_t kEnoughLetters = 8;
  const auto is_letter = [](unsigned char c) { return std::isalpha(c) != 0; };
  return std::ranges::count_if(line, is_letter) >= kEnoughLetters;
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

std::string or_nothing(const std::optional<std::int64_t>& value) {
  return value ? std::to_string(*value) : "";
}

// The clause is about the words, when there were any; else about how the rank ended; else about the
// last line of any log.
std::string clause_for(const Evidence& evidence, const Culprit& culprit, const std::string& said) {
  if (has_words(said)) {
    std::string_view source = source_name(Source::kRank);
    for (const Record& r : evidence.records)
      if (r.text == culprit.error && r.source != Source::kText) source = source_name(r.source);
    return fmt::format("{}: /{}/", source, generalised(said));
  }
  if (culprit.signal.value_or(0) != 0) return fmt::format("status: signal={}", *culprit.signal);
  if (culprit.exit_code.value_or(0) != 0)
    return fmt::format("status: exit_code={}", *culprit.exit_code);
  std::string last;
  for (const Record& r : evidence.records)
    if (r.source != Source::kConfig && has_words(r.text)) last = r.text;
  if (last.empty()) return "rank: /(?!)/";  // nothing was said: matches nothing
  return "rank: /" + generalised(without_head(last)) + "/";
}

std::string symptom_of(const Culprit& culprit, const std::string& said) {
  if (!said.empty()) return said;
  return fmt::format("rank {} ended, signal {}, exit code {}, without a word",
                     or_nothing(culprit.rank), or_nothing(culprit.signal),
                     or_nothing(culprit.exit_code));
}

}  // namespace

std::string draft_row(const Evidence& evidence, const Verdict& verdict, const Diary& diary) {
  const std::string said = without_head(verdict.first.error.value_or(""));
  return fmt::format("| {} | {} | `{}` | root | not known yet | not known yet | never | - |",
                     next_id(diary), cell(symptom_of(verdict.first, said)),
                     clause_for(evidence, verdict.first, said));
}

}  // namespace muster::launcher
