// The real program on two hosts that see the run folder late (fake_lag.h): it trains, writes
// checkpoints, continues from them, and tells how it went.
#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/fault.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/commands/step_losses.h"
#include "launcher/supervise/fake_lag.h"
#include "launcher/supervise/fake_network.h"
#include "support/no_locks.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Bed {
  fake::LaggingFolder folder;
  fake::Network network{folder.enter()};
  TempDir dir{"muster-lagging-run"};
  fs::path config = dir.path() / "run.yaml";
  Environment no_locks = test::where_locks_fail(dir.path());

  Bed() {
    auto settings =
        test::tiny_config(folder.path(), {"schedule.max_steps=10", "checkpoint.every_steps=2",
                                          "logging.level=info", "sharding.backend=mpi",
                                          "launch.hosts=[h1:1, h2:1]", "launch.max_restarts=1"});
    settings.launch.environment = network.environment();
    write_text(config, configs::to_yaml(settings));
  }

  CapturedRun muster(std::vector<std::string> words, const Environment& more = {}) const {
    words.insert(words.begin(), (test::build_dir() / "muster").string());
    Environment environment = more;
    environment.insert(no_locks.begin(), no_locks.end());  // as on such a file system
    environment["PATH"] = network.folder().string() + ":" + std::getenv("PATH");
    return run_captured(words, 240s, environment);
  }
  CapturedRun launch(const std::string& max_steps, const Environment& more = {}) const {
    return muster({"launch", config.string(), "-n", "2", "--starter", "mpirun", "--set",
                   "schedule.max_steps=" + max_steps},
                  more);
  }
};

}  // namespace

TEST_CASE("lagging run: it trains, is killed, restarts, continues and is explained",
          "[fault][.][lagging]") {
  const Bed bed;
  const fs::path truth = bed.folder.truth();
  const auto first =
      bed.launch("10", {{"MUSTER_FAULT", "rank=1,step=5,phase=backward,what=sigkill"}});
  INFO(first.output);
  REQUIRE(first.exit_code == 0);
  CHECK(fs::exists(truth / "checkpoints" / "step-000010" / "manifest.json"));
  if (fault::compiled())
    CHECK_THAT(first.output, ContainsSubstring("rank 1 on h2 was killed by signal 9"));
  const auto more = bed.launch("12");
  INFO(more.output);
  CHECK(more.exit_code == 0);
  CHECK_THAT(more.output, ContainsSubstring("from step 10"));
  CHECK(test::step_losses(truth / "metrics.jsonl").size() == 12);

  const auto status = bed.muster({"status", bed.folder.path().string(), "--json"});
  const auto told = nlohmann::json::parse(status.output);
  CHECK(told["state"] == "done");
  CHECK(told["ranks"][1]["host"] == "h2");
  CHECK(bed.muster({"triage", bed.folder.path().string()}).exit_code == 0);
}
