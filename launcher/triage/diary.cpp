#include "launcher/triage/diary.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/source_files.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

constexpr std::string_view kHeader =
    "| ID | Symptom / Error | Match | Role | Root Cause | Fix | Retry | Guard |";
constexpr std::size_t kColumns = 8;
constexpr std::size_t kIdWithin = 9;  // a row's ID stands this near its start

std::string trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return "";
  const std::size_t end = text.find_last_not_of(" \t\r");
  return std::string(text.substr(begin, end - begin + 1));
}

// Returns the cells of a table row, in which `\|` is a literal bar.
std::vector<std::string> cells(std::string_view line) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|')
      parts.back() += line[++i];
    else if (line[i] == '|')
      parts.emplace_back();
    else
      parts.back() += line[i];
  }
  for (std::string& part : parts) part = trim(part);
  return parts.size() < 2 ? std::vector<std::string>{}
                          : std::vector<std::string>(parts.begin() + 1, parts.end() - 1);
}

// Returns what stands between backticks.
std::vector<std::string> code_spans(std::string_view cell) {
  std::vector<std::string> spans;
  const std::vector<std::string> parts = split(cell, '`');
  for (std::size_t i = 1; i + 1 < parts.size(); i += 2) spans.push_back(parts[i]);
  return spans;
}

Source parse_source(const std::string& name, const std::string& clause) {
  for (const Source source : {Source::kRank, Source::kLauncher, Source::kStatus, Source::kSlurm,
                              Source::kKernel, Source::kBox, Source::kConfig})
    if (name == source_name(source)) return source;
  throw UsageError(
      fmt::format("clause `{}`: unknown source \"{}\"; one of rank, launcher, status, slurm, "
                  "kernel, box, config",
                  clause, name));
}

Clause parse_clause(const std::string& text) {
  Clause clause;
  clause.text = text;
  std::string_view rest = text;
  clause.negated = rest.starts_with('!');
  clause.optional = rest.starts_with('?');
  if (clause.negated || clause.optional) rest.remove_prefix(1);
  const std::size_t colon = rest.find(':');
  if (colon == std::string_view::npos)
    throw UsageError(fmt::format("clause `{}`: wanted source: /regex/ or source: key=value", text));
  for (const std::string& name : split(rest.substr(0, colon), ','))
    clause.sources.push_back(parse_source(trim(name), text));
  const std::string body = trim(rest.substr(colon + 1));
  if (body.size() > 2 && body.front() == '/' && body.back() == '/') {
    clause.pattern.emplace(body.substr(1, body.size() - 2));
    return clause;
  }
  const std::size_t equals = body.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError(fmt::format("clause `{}`: neither /regex/ nor key=value", text));
  clause.key = body.substr(0, equals);
  clause.value = body.substr(equals + 1);
  return clause;
}

Role parse_role(const std::string& name) {
  for (const Role role : {Role::kRoot, Role::kCascade, Role::kConfirm, Role::kAdvice})
    if (name == role_name(role)) return role;
  throw UsageError(fmt::format("role \"{}\" is none of root, cascade, confirm, advice", name));
}

std::vector<Clause> parse_match(const std::string& cell) {
  std::vector<Clause> clauses;
  for (const std::string& span : code_spans(cell)) clauses.push_back(parse_clause(span));
  if (std::ranges::all_of(clauses, [](const Clause& c) { return c.negated || c.optional; }))
    throw UsageError("no clause that must hold: such a row would match every run");
  return clauses;
}

DiaryRow parse_row(const std::vector<std::string>& cell) {
  if (cell.size() != kColumns)
    throw UsageError(fmt::format("{} cells, wanted {}; write \\| for a bar inside a cell",
                                 cell.size(), kColumns));
  DiaryRow row{cell[0],
               cell[1],
               parse_match(cell[2]),
               parse_role(cell[3]),
               cell[4],
               cell[5],
               cell[6],
               code_spans(cell[7]),
               0};
  constexpr std::array<std::string_view, 4> kRetries = {"here", "requeue", "other-node", "never"};
  if (std::ranges::find(kRetries, row.retry) == kRetries.end())
    throw UsageError(
        fmt::format("retry \"{}\" is none of here, requeue, other-node, never", row.retry));
  for (const std::string& guard : row.guards)
    if (!guard.starts_with("test:") && !guard.starts_with("check:"))
      throw UsageError(fmt::format("guard `{}`: wanted test:PATH or check:PATH", guard));
  if (row.guards.empty() && !row.id.starts_with("N-"))
    throw UsageError("no guard: only drafted N- rows may lack one");
  return row;
}

struct NumberedLine {
  int number = 0;  // 1-based
  std::string text;
};

// Returns the rows below the header, without the line of dashes.
std::vector<NumberedLine> table_lines(std::string_view markdown) {
  std::vector<NumberedLine> lines;
  bool inside = false;
  int number = 0;
  for (const std::string& line : split(markdown, '\n')) {
    ++number;
    if (line == kHeader)
      inside = true;
    else if (!line.starts_with("|"))
      inside = false;
    else if (inside && !line.starts_with("|-"))
      lines.push_back({number, line});
  }
  return lines;
}

bool contains(std::string_view text, std::string_view needle) {
  return text.find(needle) != std::string_view::npos;
}

}  // namespace

std::string_view role_name(Role role) {
  constexpr std::string_view kNames[] = {"root", "cascade", "confirm", "advice"};
  return kNames[static_cast<int>(role)];
}

bool Clause::holds_for(const Record& record) const {
  const bool listens = std::ranges::any_of(sources, [&](Source source) {
    const bool log =
        source != Source::kStatus && source != Source::kBox && source != Source::kConfig;
    return record.source == source || (record.source == Source::kText && log);
  });
  if (!listens) return false;
  if (pattern) return pattern->found_in(record.text);
  if (record.fields.empty()) return contains(record.text, key + "=" + value);
  return record.fields.contains(key) && record.field(key) == value;
}

Diary parse_diary(const fs::path& file, std::string_view markdown) {
  Diary diary{file, {}};
  std::vector<std::string> mistakes;
  std::set<std::string> ids;
  for (const auto& [number, line] : table_lines(markdown)) {
    try {
      DiaryRow row = parse_row(cells(line));
      row.line = number;
      if (!ids.insert(row.id).second) throw UsageError("this ID is taken");
      diary.rows.push_back(std::move(row));
    } catch (const UsageError& mistake) {
      mistakes.push_back(fmt::format("{}:{}: {}: {}", file.string(), number,
                                     trim(line.substr(0, kIdWithin)), mistake.what()));
    }
  }
  if (diary.rows.empty() && mistakes.empty())
    mistakes.push_back(fmt::format("{}: no table with the header {}", file.string(), kHeader));
  if (!mistakes.empty()) throw UsageError(join(mistakes, "\n"));
  return diary;
}

Diary load_diary(const fs::path& file) { return parse_diary(file, read_text(file)); }

fs::path find_diary(const fs::path& given) {
  if (given.empty()) return find_source_file("DEBUG_DIARY.md", "MUSTER_DIARY");
  if (!fs::is_regular_file(given))
    throw UsageError(fmt::format("--diary {}: no such file", given.string()));
  return given;
}

std::vector<std::string> missing_guards(const Diary& diary, const fs::path& source_dir) {
  std::vector<std::string> missing;
  for (const DiaryRow& row : diary.rows) {
    if (row.guards.empty()) missing.push_back(row.id + ": drafted, has no guard yet");
    for (const std::string& guard : row.guards) {
      const std::string target = guard.substr(guard.find(':') + 1);
      const std::size_t hash = target.find('#');
      const fs::path path = source_dir / target.substr(0, hash);
      const bool exists = fs::exists(path) &&
                          (hash == std::string::npos || contains(join_literals(read_text(path)),
                                                                 "\"" + target.substr(hash + 1)));
      if (!exists) missing.push_back(fmt::format("{}: {} does not exist", row.id, guard));
    }
  }
  return missing;
}

void append_row(const fs::path& file, const std::string& row) {
  const std::string markdown = read_text(file);
  std::size_t at = markdown.find(kHeader);
  if (at == std::string::npos)
    throw UsageError(fmt::format("{}: no table to append to", file.string()));
  while (at < markdown.size() && markdown[at] == '|')
    at = std::min(markdown.find('\n', at), markdown.size() - 1) + 1;
  write_text(file, markdown.substr(0, at) + row + "\n" + markdown.substr(at));
}

}  // namespace muster::launcher
