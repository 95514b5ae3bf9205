// Ranks on several hosts (fake_network.h): they are found, lost and left out.
#include <fmt/core.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <thread>

#include "base/files.h"
#include "launcher/commands/node_preflight.h"
#include "launcher/supervise/fake_network.h"
#include "launcher/supervise/survivors.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("network: ranks on two hosts finish; every node answers the preflight",
          "[fault][ranks]") {
  const fake::Network network;
  fake::World world(4, {"--steps", "4"});
  fake::spread(world, network);
  const LaunchResult result = world.run("two hosts");
  CHECK(result.exit_code == 0);
  CHECK(read_rank_status(world.spec.run_dir, 0)->host == "h1");
  CHECK(read_rank_status(world.spec.run_dir, 3)->host == "h2");
  CHECK(silent_hosts(world.spec, world.spec.placement.hosts).empty());

  const fs::path config = test::source_dir() / "tests/support/plain_demo.yaml";
  const auto answers =
      ask_nodes(world.spec, 2,
                {(test::build_dir() / "muster").string(), "doctor", config.string(), "--set",
                 "run.dir=" + world.spec.run_dir.string()});
  INFO(answers.output);
  REQUIRE(answers.nodes.size() == 2);
  CHECK(answers.nodes[0].host == "h1");
  CHECK(!any_failed(judge_equality(answers.nodes)));
}

TEST_CASE("network: a host on which a rank fails twice without progress is left out",
          "[fault][ranks]") {
#if defined(__SANITIZE_THREAD__)
  SKIP("the invented rank aborts without a word, and so slowly that mpirun ends it first");
#endif
  const fake::Network network;
  fake::World world(4,
                    {"--fault", "abort", "--fault-rank", "3", "--fault-step", "0", "--steps", "4"});
  fake::spread(world, network);
  world.spec.restart.max_restarts = 3;
  world.spec.restart.min_ranks = 2;
  const LaunchResult result = world.run("bad host");
  CHECK(result.exit_code == 0);
  CHECK(result.attempts.size() == 3);
  REQUIRE(result.changes.size() == 1);
  CHECK_THAT(result.changes[0].what,
             ContainsSubstring("without h2 (its ranks keep failing there), on 2 ranks"));
}

TEST_CASE("network: a host is cut off: it is named, and the run goes on without it",
          "[fault][ranks][.slow]") {
  const fake::Network network;
  fake::World world(4, {"--steps", "200", "--step-ms", "50", "--checkpoint-every", "5"});
  fake::spread(world, network);
  world.spec.watch.limits = {60, 60, 60};  // mpirun's daemons find out first
  world.spec.restart.max_restarts = 1;
  world.spec.restart.min_ranks = 2;
  const pid_t helper = fake::when_ready(world, [&](pid_t) {
    while (newest_checkpoint(world.spec.run_dir) < 5) std::this_thread::sleep_for(20ms);
    network.cut_off(2);
  });
  const LaunchResult result = world.run("cut off");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 0);
  REQUIRE(result.attempts.size() == 2);
  CHECK(result.attempts[0].exit_code == 70);
  REQUIRE(result.changes.size() == 1);
  CHECK_THAT(result.changes[0].what,
             ContainsSubstring("without h2 (no answer), on 2 ranks (R-007)"));
  CHECK(read_flight_log(flight_file(world.spec.run_dir, 1))->host == "h1");
}
