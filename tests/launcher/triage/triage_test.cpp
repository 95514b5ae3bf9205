#include "launcher/triage/triage.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/flight_recorder.h"
#include "base/process/atomic_file.h"
#include "launcher/triage/diary_sample.h"
#include "launcher/triage/draft_row.h"
#include "launcher/triage/verdict_text.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using test::diary;

namespace {

void write_status(const fs::path& run, int rank, double end, int exit_code, int signal,
                  const json& more = json::object()) {
  json status{{"rank", rank},
              {"world_size", 3},
              {"host", "node" + std::to_string(17 + rank)},
              {"pid", 999999900 + rank},
              {"attempt", 0},
              {"start_unix", 1000},
              {"end_unix", end},
              {"exit_code", exit_code},
              {"signal", signal},
              {"last_step", 11},
              {"error", ""}};
  status.update(more);
  fs::create_directories(run / "black_box");
  write_text(run / "black_box" / ("rank-" + std::to_string(rank) + ".status"), status.dump());
}

void write_box(const fs::path& run, int rank, Phase phase, std::int64_t step,
               std::int64_t collective) {
  fs::create_directories(run / "black_box");
  FlightRecorder recorder(run / "black_box" / ("rank-" + std::to_string(rank) + ".bin"), rank, 3);
  const std::vector<std::int64_t> samples = {14, 3};
  recorder.set_step(step);
  recorder.set_micro_batch(1, samples);
  recorder.record(phase, 5, collective);
}

void write_log(const fs::path& run, const std::string& name, const std::string& text) {
  fs::create_directories(run / "logs");
  write_text(run / "logs" / name, text);
}

// Logs carry local time, statuses do not.
const bool kUtc = [] {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  return true;
}();

json run_json(const fs::path& path) {
  const Evidence evidence = gather(path);
  return json::parse(verdict_as_json(triage(evidence, diary()), "none"));
}

}  // namespace

TEST_CASE(
    "a killed rank: the rank, its phase, step, collective and samples come from its black box",
    "[fault]") {
  const TempDir dir;
  const fs::path& run = dir.path();
  write_status(run, 0, 2000.9, 70, 0,
               {{"error", "a peer is gone"}, {"consequence", true}, {"error_unix", 1999.0}});
  write_status(run, 1, 2000.2, 137, 9);
  write_status(run, 2, 2000.1, 143, 15, {{"torn_down", true}});
  for (int rank = 0; rank < 3; ++rank)
    write_box(run, rank, rank == 1 ? Phase::kReduce : Phase::kForward, 12, 90 + rank);
  write_log(run, "rank-0.log",
            "1970-01-01 00:33:20.500 E [rank 0/3 node17] Connection reset by peer\n");
  write_text(run / "config.yaml", "run:\n  dir: x\ncheckpoint:\n  every_steps: 50\n  keep: 2\n");

  const json verdict = run_json(run);
  CHECK(verdict["first"]["rank"] == 1);
  CHECK(verdict["first"]["host"] == "node18");
  CHECK(verdict["first"]["phase"] == "reduce");
  CHECK(verdict["first"]["step"] == 12);
  CHECK(verdict["first"]["micro_step"] == 1);
  CHECK(verdict["first"]["collective"] == 91);
  CHECK(verdict["first"]["samples"] == json::array({14, 3}));
  CHECK(verdict["first"]["signal"] == 9);
  REQUIRE(verdict["matches"].size() >= 2);
  CHECK(verdict["matches"][0]["id"] == "R-004");
  CHECK(verdict["matches"][0]["role"] == "root");
  CHECK_THAT(verdict["matches"][0]["evidence"].get<std::string>(),
             ContainsSubstring("rank-1.status"));
  CHECK(verdict["matches"][1]["id"] == "R-006");
  CHECK(verdict["matches"][1]["role"] == "cascade");

  const Evidence evidence = gather(run);
  const std::string text = verdict_as_text(triage(evidence, diary()), run);
  CHECK_THAT(
      text, ContainsSubstring("Rank 1 on node18 failed first: signal 9, in phase reduce, step 12"));
  CHECK_THAT(text, ContainsSubstring("config.yaml:4: checkpoint.every_steps: 50 -> 25"));
}

TEST_CASE("a hang: the rank with the least progress, not the first to end", "[fault]") {
  const TempDir dir;
  const fs::path& run = dir.path();
  write_status(run, 0, 2000.1, 137, 9);
  write_status(run, 1, 2000.3, 137, 9);
  write_status(run, 2, 2000.2, 137, 9);
  write_box(run, 0, Phase::kReduce, 12, 96);
  write_box(run, 1, Phase::kReduce, 12, 96);
  write_box(run, 2, Phase::kForward, 12, 95);
  write_log(run, "launcher.log",
            "1970-01-01 00:33:19.000 E attempt 0: hang: rank 2 made no sound for 30.0 s (R-005)\n");
  const json verdict = run_json(run);
  CHECK(verdict["first"]["rank"] == 2);
  CHECK(verdict["first"]["phase"] == "forward");
  CHECK(verdict["matches"][0]["id"] == "R-005");
}

TEST_CASE("a rank's own words come before its end, and before the peers it took down", "[fault]") {
  const TempDir dir;
  const fs::path& run = dir.path();
  write_status(run, 0, 2000.0, 137, 9, {{"torn_down", true}});
  write_status(run, 2, 2003.0, 77, 0,
               {{"error", "too many skipped steps"}, {"error_unix", 1998.5}});
  write_log(run, "rank-2.log",
            "1970-01-01 00:33:17.000 W [rank 2/3 n] step 14 skipped on all ranks: loss.giou is not "
            "finite on rank 2\n"
            "1970-01-01 00:33:18.000 E [rank 2/3 n] health: 3 steps skipped in a row "
            "(health.max_skips_in_row), giving up\n");
  const json verdict = run_json(run);
  CHECK(verdict["first"]["rank"] == 2);
  CHECK(verdict["first"]["exit_code"] == 77);
  CHECK(verdict["first"]["error"] == "too many skipped steps");
  CHECK(verdict["matches"][0]["id"] == "T-001");
}

TEST_CASE(
    "the earliest root wins over later ones, and a more specific one over a vaguer one at the same "
    "time",
    "[unit]") {
  const Diary d = parse_diary(
      "d.md",
      "| ID | Symptom / Error | Match | Role | Root Cause | Fix | Retry | Guard "
      "|\n|---|---|---|---|---|---|---|---|\n"
      "| A-1 | later | `rank: /second/` | root | - | - | here | `test:x` |\n| A-2 | vague | `rank: "
      "/first/` | root | - "
      "| - | here | `test:x` |\n"
      "| A-3 | exact | `rank: /first failure of all/` | root | - | - | here | `test:x` |\n"
      "| A-4 | reaction | `rank: /zeroth/` | cascade | - | - | here | `test:x` |\n");
  const Evidence evidence = test::parse_sample(
      "== rank 0 ==\n2026-01-01 00:00:00.000 E zeroth\n2026-01-01 00:00:02.000 E second\n"
      "== rank 1 ==\n2026-01-01 00:00:01.000 E first failure of all\n");
  const Verdict verdict = triage(evidence, d);
  std::vector<std::string> ids;
  for (const RowMatch& match : verdict.matches) ids.push_back(match.row->id);
  CHECK(ids == std::vector<std::string>{"A-3", "A-2", "A-1", "A-4"});
  CHECK(verdict.matches[0].rank == 1);
}

TEST_CASE("all clauses of a row must hold for one and the same rank", "[unit]") {
  const Diary d = parse_diary(
      "d.md",
      "| ID | Symptom / Error | Match | Role | Root Cause | Fix | Retry | Guard "
      "|\n|---|---|---|---|---|---|---|---|\n"
      "| A-1 | both | `rank: /red/`<br>`rank: /blue/` | root | - | - | here | `test:x` |\n");
  const Evidence apart = test::parse_sample("== rank 0 ==\nred\n== rank 1 ==\nblue\n");
  const Evidence together = test::parse_sample("== rank 0 ==\nred\n== rank 1 ==\nblue\nred\n");
  CHECK(triage(apart, d).matches.empty());
  const Verdict verdict = triage(together, d);
  REQUIRE(verdict.matches.size() == 1);
  CHECK(verdict.matches[0].rank == 1);
}

TEST_CASE("an unknown failure has no matches, and its drafted row explains it next time",
          "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "diary.md", log = dir.path() / "run.log";
  write_text(file, read_text(test::source_dir() / "DEBUG_DIARY.md"));
  write_text(log,
             "2026-11-20 10:00:05.120 E [rank 3/8 node20] flux | capacitor `12` failed (code 4)\n");
  const Evidence evidence = gather(log);
  const Diary before = load_diary(file);
  const Verdict unknown = triage(evidence, before);
  CHECK(json::parse(verdict_as_json(unknown, "none"))["matches"].empty());
  CHECK(unknown.first.rank == 3);
  CHECK(unknown.first.host == "node20");

  append_row(file, draft_row(evidence, unknown, before));
  const Diary after = load_diary(file);
  REQUIRE(after.rows.size() == before.rows.size() + 1);
  CHECK(after.rows.back().id == "N-001");
  write_text(log,
             "2026-11-21 11:00:05.120 E [rank 0/8 node17] flux | capacitor `7` failed (code 55)\n");
  const Evidence again = gather(log);
  const Verdict known = triage(again, after);
  REQUIRE(known.matches.size() == 1);
  CHECK(known.matches[0].row->id == "N-001");
  CHECK_THAT(draft_row(again, known, after), ContainsSubstring("N-002"));
}

TEST_CASE("a run in which nothing failed is said to be so", "[unit]") {
  const TempDir dir;
  for (int rank = 0; rank < 3; ++rank) write_status(dir.path(), rank, 2000, 0, 0);
  write_log(
      dir.path(), "rank-0.log",
      "2026-11-20 10:00:05.120 W [rank 0/3 n] no font has U+72D7: it is drawn as an empty frame\n");
  const Evidence evidence = gather(dir.path());
  const Verdict verdict = triage(evidence, diary());
  CHECK(verdict.nothing_failed);
  CHECK(verdict.matches.empty());
  CHECK(json::parse(verdict_as_json(verdict, "none"))["first"].is_null());
  CHECK_THAT(verdict_as_text(verdict, "none"),
             ContainsSubstring("Nothing failed") && ContainsSubstring("W-004"));
}

TEST_CASE("the last line says where the next launch begins", "[unit]") {
  const TempDir dir;
  const fs::path& run = dir.path();
  write_status(run, 0, 2000, 74, 0, {{"error", "checkpoint of step 2 is damaged"}});
  const auto text = [&] { return verdict_as_text(triage(gather(run), diary()), run); };
  fs::create_directories(run / "checkpoints");
  CHECK_THAT(text(), ContainsSubstring("the next launch begins at step 0"));
  fs::create_directories(run / "checkpoints" / "step-000002.damaged");
  fs::create_directories(run / "checkpoints" / "step-000004.damaged");
  CHECK_THAT(text(), !ContainsSubstring("step 0") && ContainsSubstring("step-000002.damaged, ") &&
                         ContainsSubstring("the next launch stops as well") &&
                         ContainsSubstring("--fresh"));
  fs::create_directories(run / "checkpoints" / "step-000002");
  write_text(run / "checkpoints" / "step-000002" / "manifest.json", "{}");
  CHECK_THAT(text(), ContainsSubstring("step 2; the next launch resumes from it"));
}

TEST_CASE("a rank that left with 0 before the end is named, not the peer that was torn down",
          "[fault]") {
  const TempDir dir;
  const fs::path& run = dir.path();
  write_status(run, 0, 2000.4, 137, 9, {{"torn_down", true}});
  write_status(run, 1, 2000.2, 0, 0);
  write_box(run, 0, Phase::kConsensus, 1, 4);
  write_box(run, 1, Phase::kForward, 1, 3);
  write_log(run, "launcher.log",
            "1970-01-01 00:33:20.300 E attempt 0: rank 1 on node18 left with code 0 before the end "
            "in phase forward of step 1, collective 3 (2.1 s after the start)\n");
  write_log(run, "mpirun.out",
            "1970-01-01 00:33:19.900 I [rank 0/2 node17] step 1\n"
            "mpirun detected that a process exited without calling finalize: failed\n");
  const json verdict = run_json(run);
  CHECK(verdict["first"]["rank"] == 1);
  CHECK(verdict["first"]["exit_code"] == 0);
  CHECK(verdict["first"]["phase"] == "forward");
  CHECK_THAT(verdict["first"]["error"].get<std::string>(),
             ContainsSubstring("left with code 0 before the end"));
  REQUIRE(!verdict["matches"].empty());
  CHECK(verdict["matches"][0]["id"] == "R-018");
}

TEST_CASE("a run whose only rank left with 0 before the end has failed", "[fault]") {
  const TempDir dir;
  write_status(dir.path(), 0, 2000, 0, 0);
  write_box(dir.path(), 0, Phase::kForward, 1, 3);
  CHECK(run_json(dir.path())["first"]["rank"] == 0);
  write_box(dir.path(), 0, Phase::kDone, 1, 3);
  CHECK(run_json(dir.path())["first"].is_null());
}

TEST_CASE("random weights are no advice where the config asks for them", "[unit]") {
  const TempDir dir;
  write_status(dir.path(), 0, 2000, 3, 0);
  write_log(dir.path(), "rank-0.log",
            "1970-01-01 00:33:10.000 I [rank 0/1 n] random initialisation of every weight "
            "(model.random_init), sizes from m\n");
  const auto advises = [&] {
    const json verdict = run_json(dir.path());
    std::string ids;
    for (const char* list : {"matches", "notes"})
      for (const json& match : verdict[list]) ids += match["id"].get<std::string>() + " ";
    return ids.find("L-104") != std::string::npos;
  };
  CHECK(advises());
  write_text(dir.path() / "config.yaml", "model:\n  path: m\n  random_init: false\n");
  CHECK(advises());
  write_text(dir.path() / "config.yaml", "model:\n  path: m\n  random_init: true\n");
  CHECK_FALSE(advises());
}

TEST_CASE("one log file speaks for every source of text", "[unit]") {
  const TempDir dir;
  const fs::path log = dir.path() / "job.out";
  write_text(log,
             "2026-11-20 10:00:20.000 E attempt 0: rank 1 on node18 was killed by signal 9 (KILL) "
             "in phase reduce of "
             "step 12, collective 96\n");
  const json verdict = run_json(log);
  CHECK(verdict["first"]["rank"] == 1);
  CHECK(verdict["first"]["host"] == "node18");
  CHECK(verdict["first"]["phase"] == "reduce");
  CHECK(verdict["first"]["step"] == 12);
  CHECK(verdict["first"]["collective"] == 96);
  CHECK(verdict["matches"][0]["id"] == "R-004");
}

TEST_CASE("lines of earlier attempts do not explain the newest", "[fault]") {
  const TempDir dir;
  write_status(dir.path(), 0, 2000, 137, 9, {{"start_unix", 1900}});
  REQUIRE(kUtc);  // 00:20:00 is 1200 s: an attempt before
  write_log(dir.path(), "rank-0.log",
            "1970-01-01 00:20:00.000 E [rank 0/3 n] parameters in no learning-rate group: "
            "adapter.weight\n");
  const json verdict = run_json(dir.path());
  for (const json& match : verdict["matches"]) CHECK(match["id"] != "I-002");
  CHECK(verdict["matches"][0]["id"] == "R-004");
}

TEST_CASE("long logs: the newest lines and every early error are kept, lines are cut", "[unit]") {
  std::string text = "an early error of note\n" + std::string(10000, 'x') + " error\n";
  for (int i = 0; i < 5000; ++i) text += "step " + std::to_string(i) + "\n";
  const std::vector<Record> lines = read_lines(Source::kRank, 0, "rank-0.log", text);
  CHECK(lines.size() < 2010);
  CHECK(lines.front().text == "an early error of note");
  CHECK(lines.front().line == 1);
  CHECK(lines.back().text == "step 4999");
  CHECK(lines.back().line == 5002);
  CHECK(std::ranges::all_of(lines, [](const Record& r) { return r.text.size() <= 4096; }));
}

TEST_CASE("a damaged status file, and a path that is neither folder nor file, are named",
          "[fault]") {
  CHECK_THROWS_AS(status_record("rank-0.status", "{\"rank\": "), DataError);
  CHECK_THROWS_AS(gather("/nowhere/at/all"), UsageError);
}

TEST_CASE("the tags of PyTorch's ranks name the rank", "[unit]") {
  const auto lines = read_lines(Source::kRank, -1, "log",
                                "[rank3]: ValueError: bad\n[rank 5/8 node17] x\n[ranking 7] y\n");
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].rank == 3);
  CHECK(lines[1].rank == 5);
  CHECK(lines[2].rank == -1);
}

TEST_CASE("a log without a failure is no failure", "[unit]") {
  const TempDir dir;
  const fs::path log = dir.path() / "clean.log";
  write_text(log, "2026-06-01 10:00:00 step 10 loss 0.52 error_rate 0.10\ntraining finished\n");
  const Verdict clean = triage(gather(log), diary());
  CHECK(clean.nothing_failed);
  CHECK_THAT(verdict_as_text(clean, log), ContainsSubstring("No failure in this log"));
  write_text(log, "2026-06-01 10:00:00 step 10 loss 0.52\nFatal: the reader is gone\n");
  CHECK_FALSE(triage(gather(log), diary()).nothing_failed);
}

TEST_CASE("a drafted row never matches rules and dashes", "[unit]") {
  const TempDir dir;
  const fs::path log = dir.path() / "strange.log";
  write_text(log, "zork: quux does not frobnicate, failed\n--------------------------------\n");
  const Evidence evidence = gather(log);
  CHECK_THAT(draft_row(evidence, triage(evidence, diary()), diary()),
             ContainsSubstring("frobnicate"));
  write_text(log, "error: ----\n--------------------------------\n");
  const Evidence dashes = gather(log);
  const std::string row = draft_row(dashes, triage(dashes, diary()), diary());
  CHECK_THAT(row, !ContainsSubstring("---------"));
}

TEST_CASE("what is damaged in a run folder is named and the rest is used", "[fault]") {
  const TempDir dir;
  const fs::path& run = dir.path();
  write_status(run, 1, 2000, 137, 9);
  for (const char* bytes : {"", "[", "{}", "{\"rank\": 4294967299}", "{\"rank\": \"0\"}"}) {
    write_text(run / "black_box" / "rank-0.status", bytes);
    write_text(run / "black_box" / "rank-0.bin", bytes);
    const json verdict = run_json(run);
    CHECK(verdict["first"]["rank"] == 1);
    const std::string all = verdict.dump();
    CHECK_THAT(all, ContainsSubstring("rank-0.status"));
    CHECK_THAT(all, ContainsSubstring("rank-0.bin"));
    CHECK_THAT(all, ContainsSubstring("R-029"));
  }
}

TEST_CASE("words from outside cannot steer the terminal", "[unit]") {
  const TempDir dir;
  const fs::path log = dir.path() / "evil.log";
  write_text(log, "RuntimeError: CUDA error: \x1b]0;owned\x07 illegal memory access\n");
  const std::string text = verdict_as_text(triage(gather(log), diary()), log);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK_THAT(text, ContainsSubstring("\\x1b]0;owned"));
}

TEST_CASE("the logs of other people's runs find their rows", "[unit]") {
  const std::vector<std::pair<std::string, std::string>> right{
      {"04b_scancel.log", "R-019"},  {"05_ecc.log", "R-015"},
      {"06_shm_bus.log", "D-010"},   {"08_stale_nfs.log", "R-021"},
      {"09_orte_pmix.log", "R-020"}, {"09b_orte_daemon.log", "R-020"}};
  for (const auto& [name, id] : right) {
    const fs::path log = test::shared("cases/triage/" + name);
    const json verdict = run_json(log);
    INFO(name << ": " << verdict["matches"].dump());
    REQUIRE(!verdict["matches"].empty());
    CHECK(verdict["matches"][0]["id"] == id);
  }
  CHECK(triage(gather(test::shared("cases/triage/15_clean.log")), diary()).nothing_failed);
}
