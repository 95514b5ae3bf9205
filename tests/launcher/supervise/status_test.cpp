#include "launcher/supervise/status.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/flight_recorder.h"
#include "base/process/atomic_file.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/run_folder.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("status: step, loss, time to go, restarts and phases come from the run folder",
          "[unit]") {
  const TempDir dir;
  make_run_folder(dir.path());
  write_text(dir.path() / "metrics.jsonl",
             "{\"step\": 1, \"loss\": 9.5, \"seconds\": 2.0}\n{\"step\": 1, \"eval.AP50\": 0.5}\n"
             "{\"step\": 2, \"loss\": 4.25, \"seconds\": 4.0}\n{\"step\": 3, \"lo");
  write_text(dir.path() / "launch.json",
             R"({"ranks": 2, "attempt": 1, "pid": 1, "host": "elsewhere", "exit_code": 0,
                 "attempts": [{"ending": "failed", "what": "rank 1 left"}], "changes": [{"attempt": 1, "what": "rung 1"}]})");
  {
    FlightRecorder box(flight_file(dir.path(), 0), 0, 2);
    box.set_step(2);
    box.record(Phase::kBackward, -1, 17);
  }
  RunStatus status = read_status(dir.path());
  CHECK(status.state == "running");
  CHECK(status.step == 2);
  CHECK(status.loss == 4.25);
  CHECK(status.restarts == 1);
  CHECK(!status.eta_s);  // no config.yaml: nobody knows how far it goes
  REQUIRE(status.ranks_now.size() == 2);
  CHECK(status.ranks_now[0].phase == "backward");
  CHECK(status.ranks_now[0].collective == 17);
  CHECK(status.ranks_now[1].phase == "not there");
  status.max_steps = 10;
  status.eta_s = 24.0;
  CHECK_THAT(status_as_text(status),
             ContainsSubstring("step     2 of 10, loss 4.25, 24.0 s to go") &&
                 ContainsSubstring("state    running, 1 restarts") &&
                 ContainsSubstring("changed  rung 1"));
  const auto parsed = nlohmann::json::parse(status_as_json(status));
  CHECK(parsed["ranks"][0]["phase"] == "backward");
  CHECK(parsed["exit_code"].is_null());

  write_text(dir.path() / "launch.json", R"({"ranks": 2, "attempt": 0, "exit_code": 71,
                                             "attempts": [{"ending": "hang", "what": "rank 1 hung"}]})");
  const RunStatus ended = read_status(dir.path());
  CHECK(ended.state == "hang");
  CHECK(ended.exit_code == 71);
  CHECK_THAT(status_as_text(ended),
             ContainsSubstring("hang (code 71)") && ContainsSubstring("last     rank 1 hung"));
}

TEST_CASE("status: a folder that is no run, and one that has only begun", "[unit]") {
  const TempDir dir;
  CHECK_THROWS_AS(read_status(dir.path()), UsageError);
  make_run_folder(dir.path());
  CHECK(read_status(dir.path()).state == "not started");
}

TEST_CASE("status: a failure that no launcher judged is named by its statuses", "[unit]") {
  const TempDir dir;
  make_run_folder(dir.path());
  write_text(dir.path() / "launch.json",
             R"({"ranks": 2, "attempt": 0, "pid": 1, "host": "elsewhere", "attempts": []})");
  RankStatus status;
  status.world_size = 2;
  status.host = "node17";
  status.start_unix = 1000;
  for (int rank = 0; rank < 2; ++rank) {
    FlightRecorder box(flight_file(dir.path(), rank), rank, 2);
    box.set_step(4);
    box.record(Phase::kForward);
    status.rank = rank;
    status.end_unix = 2000 - rank;
    status.exit_code = rank == 0 ? 137 : 0;
    status.signal = rank == 0 ? 9 : 0;
    status.torn_down = rank == 0;
    write_rank_status(dir.path(), status);
  }
  const RunStatus seen = read_status(dir.path());
  REQUIRE(seen.first_failure);
  CHECK(seen.first_failure->rank.status.rank == 1);
  CHECK(seen.ranks_now[0].end == "torn down (signal 9)");
  CHECK(seen.ranks_now[1].end == "code 0 before the end");
  CHECK_THAT(status_as_text(seen),
             ContainsSubstring("failed   rank 1 on node17 left with code 0 before the end"));
  CHECK(nlohmann::json::parse(status_as_json(seen))["first"]["rank"] == 1);
}

TEST_CASE("status: damaged side files are named, left out, and decide nothing", "[fault]") {
  const TempDir dir;
  make_run_folder(dir.path());
  write_text(dir.path() / "metrics.jsonl",
             "{\"step\": 7, \"loss\": 2.5, \"seconds\": \"x\"}\n{\"step\": 1e300, \"loss\": 1}\n"
             "{\"step\": -4, \"loss\": 1}\n[[[\n");
  const std::string deep(100000, '[');
  for (const std::string& bytes :
       {std::string(), std::string("{\"ranks\": 1e99"), std::string("[]"), deep}) {
    write_text(dir.path() / "launch.json", bytes);
    const RunStatus status = read_status(dir.path());
    CHECK(status.damaged == std::vector<std::string>{"launch.json"});
    CHECK(status.step == 7);
  }
  write_text(dir.path() / "launch.json",
             R"({"ranks": 18446744073709551615, "attempt": -3, "pid": -1, "host": 5, "attempts": {},
                 "changes": [1, {"what": 2}], "exit_code": 1e9})");
  CHECK(read_status(dir.path()).ranks == 0);
  write_text(dir.path() / "launch.json", R"({"ranks": 2, "attempt": 0, "host": "elsewhere"})");
  for (const char* bytes : {"", "{\"rank\": 900}", "{\"rank\": 1, \"start_unix\": 1e999}", "[1]"}) {
    write_text(status_file(dir.path(), 1), bytes);
    const RunStatus status = read_status(dir.path());
    CHECK(status.damaged == std::vector<std::string>{"rank-1.status"});
    CHECK_THAT(status_as_text(status), ContainsSubstring("rank-1.status is left out (R-029)"));
  }
}
