// DEBUG_DIARY.md, section 1: a Markdown table that people read and muster executes. Its first lines
// explain the columns.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/pattern.h"
#include "launcher/triage/record.h"

namespace muster::launcher {

enum class Role { kRoot, kCascade, kConfirm, kAdvice };
std::string_view role_name(Role role);

// A clause is `source: /regex/` or `source: key=value`. With a leading `!` it must not hold; with a
// leading `?` it need not hold, but strengthens the row if it does.
struct Clause {
  std::vector<Source> sources;
  bool negated = false;
  bool optional = false;
  std::string text;  // as written, for messages and as a measure of how specific it is
  // It compares a pattern, or else a key with its value.
  std::optional<Pattern> pattern;
  std::string key;
  std::string value;

  bool holds_for(const Record& record) const;
};

struct DiaryRow {
  std::string id;
  std::string symptom;
  std::vector<Clause> clauses;
  Role role = Role::kRoot;
  std::string cause;
  std::string fix;
  std::string retry;  // here, requeue, other-node, never
  // "test:PATH", "test:PATH#TEST CASE", "check:PATH"; empty in a drafted N- row.
  std::vector<std::string> guards;
  int line = 0;
};

struct Diary {
  std::filesystem::path file;
  std::vector<DiaryRow> rows;
};

// Throws UsageError that lists every mistake with its line: cells missing, ids twice, clauses that
// do not parse or compile, unknown roles and retries.
Diary parse_diary(const std::filesystem::path& file, std::string_view markdown);
Diary load_diary(const std::filesystem::path& file);

// Returns --diary FILE, or what MUSTER_DIARY names, or the DEBUG_DIARY.md of the current folder or
// the executable's parents.
std::filesystem::path find_diary(const std::filesystem::path& given);

// Returns a message for each guard that does not exist under `source_dir`.
std::vector<std::string> missing_guards(const Diary& diary,
                                        const std::filesystem::path& source_dir);

// Writes a drafted row (one line of Markdown) below the table's last row.
void append_row(const std::filesystem::path& file, const std::string& row);

}  // namespace muster::launcher
