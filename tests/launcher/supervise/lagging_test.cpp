// A run folder that every host sees late (fake_lag.h), under the real supervisor, mpirun's daemons
// and fake ranks on two hosts.
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "launcher/supervise/fake_lag.h"
#include "launcher/supervise/fake_network.h"
#include "launcher/supervise/status.h"
#include "launcher/triage/triage.h"
#include "launcher/triage/verdict_text.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

struct LaggingWorld {
  fake::LaggingFolder folder;
  fake::Network network{folder.enter()};
  fake::World world;

  explicit LaggingWorld(std::vector<std::string> arguments) : world(4, std::move(arguments)) {
    // Old names of the world's own folder on every rank's command line.
    for (std::string& word : world.spec.rank_program)
      if (word == world.spec.run_dir.string()) word = folder.path().string();
    world.spec.run_dir = folder.path();
    world.spec.watch.local_boxes = true;
    make_run_folder(folder.path());
    fake::spread(world, network);
  }
};

std::string first_in_triage(const fs::path& run_dir) {
  const Diary diary = load_diary(test::source_dir() / "DEBUG_DIARY.md");
  return verdict_as_json(triage(gather(run_dir), diary), run_dir);
}

// The ranks that triage takes for the ones behind, of the four whose black boxes it has.
std::vector<int> behind_in_triage(const fs::path& run_dir) {
  std::vector<int> behind;
  int boxes = 0;
  for (const Record& record : gather(run_dir).records) {
    if (record.source != Source::kBox) continue;
    ++boxes;
    if (record.field("lagging") == "yes") behind.push_back(record.rank);
  }
  CHECK(boxes == 4);
  return behind;
}

}  // namespace

TEST_CASE("lagging: the folder lags as NFS does", "[fault][.][lagging]") {
  const fake::LaggingFolder folder;
  CHECK(!fs::exists(folder.path() / "late"));
  write_text(folder.truth() / "late", "words");
  CHECK(!fs::exists(folder.path() / "late"));
  write_text(folder.truth() / "other", "words");
  CHECK(fs::file_size(folder.path() / "other") == 5);
  write_text(folder.truth() / "other", "more words");
  CHECK(fs::file_size(folder.path() / "other") == 5);
}

TEST_CASE("lagging: ranks on two hosts start, finish and are known to status",
          "[fault][.][lagging]") {
  LaggingWorld lagging({"--steps", "60", "--checkpoint-every", "20"});
  const LaunchResult result = lagging.world.run("lagging");
  CHECK(result.exit_code == 0);
  CHECK(result.attempts.size() == 1);
  const RunStatus status = read_status(lagging.folder.path());
  REQUIRE(status.ranks_now.size() == 4);
  CHECK(status.ranks_now[3].host == "h2");
  CHECK(status.ranks_now[3].phase == "done");
  CHECK(read_flight_log(flight_file(lagging.folder.truth(), 3))->host == "h2");
}

TEST_CASE("lagging: a stopped rank, a killed rank and an error on another host are named at once",
          "[fault][.][lagging]") {
  {
    LaggingWorld lagging({"--fault", "stop", "--fault-rank", "3", "--steps", "50"});
    const LaunchResult result = lagging.world.run("lagging stop");
    CHECK(result.exit_code == 71);
    CHECK(fake::culprit(result) == 3);
    CHECK(result.attempts[0].hang->silent_s - result.attempts[0].hang->limit_s < 2);
    CHECK(behind_in_triage(lagging.folder.path()) == std::vector<int>{3});
  }
  {
    LaggingWorld lagging({"--fault", "kill", "--fault-rank", "3", "--peers-complain"});
    const LaunchResult result = lagging.world.run("lagging kill");
    CHECK(result.exit_code == 70);
    CHECK(fake::culprit(result) == 3);
    CHECK_THAT(first_in_triage(lagging.folder.path()), ContainsSubstring("\"rank\": 3"));
  }
  LaggingWorld lagging({"--fault", "nan", "--fault-rank", "2"});
  const LaunchResult result = lagging.world.run("lagging nan");
  CHECK(result.exit_code == 77);
  CHECK(fake::culprit(result) == 2);
  CHECK_THAT(result.attempts[0].failure->what, ContainsSubstring("loss is NaN in loss.caption"));
}

TEST_CASE("lagging: restarts go on from the newest checkpoint, and progress is seen",
          "[fault][.][lagging]") {
  LaggingWorld lagging({"--fault", "abort", "--fault-rank", "3", "--fault-attempts", "4",
                        "--checkpoint-every", "1", "--fault-every", "5", "--steps", "30"});
  lagging.world.spec.restart.max_restarts = 2;
  const LaunchResult result = lagging.world.run("lagging restarts");
  CHECK(result.exit_code == 0);
  CHECK(result.attempts.size() == 5);  // each had a newer checkpoint, which fills the budget again
}

TEST_CASE("lagging: a host is cut off: it is named, and the run goes on without it",
          "[fault][.][lagging]") {
  LaggingWorld lagging({"--steps", "200", "--step-ms", "50", "--checkpoint-every", "5"});
  LaunchSpec& spec = lagging.world.spec;
  spec.watch.limits = {60, 60, 60};  // mpirun's daemons find out first
  spec.restart.max_restarts = 1;
  spec.restart.min_ranks = 2;
  const pid_t helper = ::fork();
  if (helper == 0) {
    while (newest_checkpoint(lagging.folder.truth()) < 5) std::this_thread::sleep_for(20ms);
    lagging.network.cut_off(2);
    ::_exit(0);
  }
  const LaunchResult result = lagging.world.run("lagging cut off");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 0);
  REQUIRE(result.attempts.size() == 2);
  REQUIRE(result.changes.size() == 1);
  CHECK_THAT(result.changes[0].what,
             ContainsSubstring("without h2 (no answer), on 2 ranks (R-007)"));
}
