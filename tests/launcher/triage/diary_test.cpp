// The table of DEBUG_DIARY.md, walked row by row.
#include "launcher/triage/diary.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/pattern.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "configs/config.h"
#include "launcher/triage/diary_sample.h"
#include "launcher/triage/triage.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using test::diary;

namespace {

// Samples of one kind ("hit" or "miss") as (row ID, file).
std::vector<std::pair<std::string, fs::path>> samples(const std::string& kind) {
  std::vector<std::pair<std::string, fs::path>> found;
  for (const auto& entry :
       fs::directory_iterator(test::source_dir() / "tests/launcher/triage/diary_samples")) {
    const std::string name = entry.path().filename().string(), id = name.substr(0, name.find('.'));
    const std::string rest = name.substr(id.size());
    if (rest == "." + kind || rest.starts_with("." + kind + "."))
      found.emplace_back(id, entry.path());
  }
  return found;
}

std::set<std::string> ids_of(const std::vector<RowMatch>& matches, std::optional<Role> role = {}) {
  std::set<std::string> ids;
  for (const RowMatch& match : matches)
    if (!role || match.row->role == *role) ids.insert(match.row->id);
  return ids;
}

std::set<std::string> all_ids(const fs::path& sample, std::optional<Role> role = {}) {
  const Evidence evidence = test::read_sample(sample);
  const Verdict verdict = triage(evidence, diary());
  std::set<std::string> ids = ids_of(verdict.matches, role);
  ids.merge(ids_of(verdict.notes, role));
  return ids;
}

constexpr const char* kTable =
    "| ID | Symptom / Error | Match | Role | Root Cause | Fix | Retry | Guard "
    "|\n|---|---|---|---|---|---|---|---|\n";

Diary parse(const std::string& rows) { return parse_diary("d.md", kTable + rows); }

}  // namespace

TEST_CASE("every row has a sample it matches", "[unit]") {
  std::set<std::string> seen;
  for (const auto& [id, file] : samples("hit")) {
    INFO(file.string());
    CHECK(all_ids(file).contains(id));
    seen.insert(id);
  }
  for (const DiaryRow& row : diary().rows) {
    INFO(row.id);
    CHECK(seen.contains(row.id));
  }
}

TEST_CASE("every row has a near miss it does not match", "[unit]") {
  std::set<std::string> seen;
  for (const auto& [id, file] : samples("miss")) {
    INFO(file.string());
    CHECK_FALSE(all_ids(file).contains(id));
    seen.insert(id);
  }
  for (const DiaryRow& row : diary().rows) {
    INFO(row.id);
    CHECK(seen.contains(row.id));
  }
}

TEST_CASE("no sample is claimed as root by two rows", "[unit]") {
  for (const char* kind : {"hit", "miss"})
    for (const auto& [id, file] : samples(kind)) {
      const std::set<std::string> roots = all_ids(file, Role::kRoot);
      std::string names;
      for (const std::string& root : roots) names += root + " ";
      INFO(file.string() << " is claimed by " << names);
      CHECK(roots.size() <= 1);
    }
}

TEST_CASE("every sample belongs to a row", "[unit]") {
  for (const char* kind : {"hit", "miss"})
    for (const auto& [id, file] : samples(kind)) {
      INFO(file.string());
      CHECK(std::ranges::any_of(diary().rows, [&](const DiaryRow& row) { return row.id == id; }));
    }
}

TEST_CASE("every guard exists", "[unit]") {
  const std::vector<std::string> missing = missing_guards(diary(), test::source_dir());
  std::string all;
  for (const std::string& guard : missing) all += guard + "\n";
  INFO(all);
  CHECK(missing.empty());
}

// The failures muster was built to explain. The list in the shared folder, where that is there,
// may know more only if docs/roadmap.md names the row as one to come.
TEST_CASE("every known failure has its row", "[unit]") {
  const std::string known =
      "G-001 G-002 M-001 M-002 M-003 P-001 P-004 P-002 P-003 L-001 I-001 I-002 I-003 I-004 W-001 "
      "W-002 W-003 W-004 "
      "W-005 "
      "T-001 T-002 T-003 T-004 T-005 T-006 T-007 T-008 T-009 D-001 D-002 D-003 D-004 D-005 D-006 "
      "D-007 D-008 D-009 "
      "D-010 D-011 D-012 D-013 D-014 D-015 "
      "L-101 L-102 L-103 L-104 L-105 L-106 L-107 L-108 L-109 "
      "R-001 R-002 R-003 R-004 R-005 R-006 R-007 R-008 R-009 R-010 R-011 R-012 R-013 R-014 "
      "R-019 R-020 R-021 R-022 R-023 R-024 R-025 R-026 R-027 R-028 R-029";
  for (const std::string& id : split(known, ' ')) {
    INFO(id);
    CHECK(std::ranges::any_of(diary().rows, [&](const DiaryRow& row) { return row.id == id; }));
  }
  const std::string planned = read_text(test::source_dir() / "docs/roadmap.md");
  const std::string list = read_text(test::shared("FAILURES.md"));
  const Pattern kId(R"((?:\| |, )([A-Z]-\d{3})(?=[, ]))", Pattern::Letters::kAsWritten);
  for (const Pattern::Match& id : kId.all_in(list)) {
    INFO(id.text(1));
    const bool has_row = known.find(id.text(1)) != std::string::npos;
    const bool is_planned = planned.find(id.text(1)) != std::string::npos;
    CHECK((has_row || is_planned));
  }
}

TEST_CASE("every setting a fix names exists", "[unit]") {
  const std::string settings = configs::describe_fields(false);
  const Pattern kSpan("`([a-z_0-9]+(?:\\.[a-z_0-9]+)+)(?:: [^`]+)?`", Pattern::Letters::kAsWritten);
  int named = 0;
  for (const DiaryRow& row : diary().rows)
    for (const Pattern::Match& span : kSpan.all_in(row.fix)) {
      const std::string key = span.text(1);
      INFO(row.id << ": " << key);
      CHECK(settings.find("  " + key + " ") != std::string::npos);
      ++named;
    }
  CHECK(named > 30);
}

TEST_CASE("clauses: bars, negation, options, several sources, key=value", "[unit]") {
  const Diary d = parse(
      "| X-1 | a | `rank,launcher: /b \\| c/`<br>`!status: signal=9`<br>`?box: phase=reduce` | "
      "root | - | - | here | "
      "`test:x` |\n");
  REQUIRE(d.rows.size() == 1);
  const DiaryRow& row = d.rows[0];
  REQUIRE(row.clauses.size() == 3);
  CHECK((row.clauses[0].sources == std::vector<Source>{Source::kRank, Source::kLauncher}));
  const Record line{Source::kLauncher, -1, "", 1, kNoTime, "xx b  yy", {}};
  CHECK(row.clauses[0].holds_for(line));
  CHECK(row.clauses[0].holds_for({Source::kText, -1, "", 1, kNoTime, " C", {}}));
  CHECK_FALSE(row.clauses[0].holds_for({Source::kSlurm, -1, "", 1, kNoTime, " c", {}}));
  CHECK(row.clauses[1].negated);
  CHECK(row.clauses[1].holds_for({Source::kStatus, 0, "", 0, kNoTime, "", {{"signal", "9"}}}));
  CHECK_FALSE(
      row.clauses[1].holds_for({Source::kStatus, 0, "", 0, kNoTime, "", {{"signal", "99"}}}));
  CHECK(row.clauses[2].optional);
}

TEST_CASE("every mistake in the table is reported with its line", "[fault]") {
  const std::string good = "| X-1 | a | `rank: /b/` | root | c | d | here | `test:x` |\n";
  CHECK_NOTHROW(parse(good));
  CHECK_THROWS_WITH(parse(good + good), ContainsSubstring("d.md:4") && ContainsSubstring("taken"));
  CHECK_THROWS_WITH(parse("| X-1 | a | `rank: /(b/` | root | c | d | here | `test:x` |\n"),
                    ContainsSubstring("does not compile"));
  CHECK_THROWS_WITH(parse("| X-1 | a | `rank: /b/` | cause | c | d | here | `test:x` |\n"),
                    ContainsSubstring("role"));
  CHECK_THROWS_WITH(parse("| X-1 | a | `rank: /b/` | root | c | d | twice | `test:x` |\n"),
                    ContainsSubstring("retry"));
  CHECK_THROWS_WITH(parse("| X-1 | a | `rank: /b/` | root | c | d | here | - |\n"),
                    ContainsSubstring("guard"));
  CHECK_THROWS_WITH(parse("| X-1 | a | `dmesg: /b/` | root | c | d | here | `test:x` |\n"),
                    ContainsSubstring("unknown source"));
  CHECK_THROWS_WITH(parse("| X-1 | a | `!rank: /b/` | root | c | d | here | `test:x` |\n"),
                    ContainsSubstring("match every run"));
  CHECK_THROWS_WITH(parse("| X-1 | a | `rank: /b|c/` | root | c | d | here | `test:x` |\n"),
                    ContainsSubstring("cells"));
  CHECK_THROWS_WITH(parse_diary("d.md", "# no table\n"), ContainsSubstring("no table"));
}

TEST_CASE("a guard that does not exist is named, by file and by test case", "[fault]") {
  const TempDir dir;
  write_text(dir.path() / "a_test.cpp", "TEST_CASE(\"it holds\", \"[unit]\")");
  const auto missing = [&](const std::string& guard) {
    return missing_guards(
               parse("| X-1 | a | `rank: /b/` | root | c | d | here | `" + guard + "` |\n"),
               dir.path())
        .size();
  };
  CHECK(missing("test:a_test.cpp") == 0);
  CHECK(missing("test:a_test.cpp#it holds") == 0);
  CHECK(missing("test:a_test.cpp#it breaks") == 1);
  CHECK(missing("check:b.cpp") == 1);
}

TEST_CASE("a pattern that backtracks without end is given up, not waited for", "[fault]") {
  std::string endless(4000, 'a');
  endless.push_back('b');
  CHECK_FALSE(Pattern("(*NO_JIT)(a+)+$").found_in(endless));
  CHECK(Pattern("a+b").found_in("AAAB \xff\xfe"));
}
