#include "launcher/rank/heartbeat.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster;
using namespace muster::launcher;

namespace {

constexpr PhaseLimits kLimits{30, 5, 60};

RankBeat beat(int rank, std::uint64_t written, std::int64_t step, Phase phase,
              std::int64_t collective = 0) {
  RankBeat b;
  b.rank = rank;
  b.present = true;
  b.written = written;
  b.first_step = 0;
  b.last.step = step;
  b.last.phase = phase;
  b.last.collective = collective;
  return b;
}

// Two ranks that have done steps 0 and 1 by second 1.
HeartbeatMonitor warm_monitor() {
  HeartbeatMonitor monitor(2, kLimits, 0);
  monitor.observe(std::vector{beat(0, 1, 0, Phase::kForward), beat(1, 1, 0, Phase::kForward)}, 0.5);
  monitor.observe(std::vector{beat(0, 9, 1, Phase::kForward), beat(1, 9, 1, Phase::kForward)}, 1);
  return monitor;
}

}  // namespace

TEST_CASE("heartbeat: the rank furthest behind is the culprit, not the ones that wait", "[unit]") {
  auto monitor = warm_monitor();
  const std::vector stuck{beat(0, 20, 7, Phase::kReduce, 41), beat(1, 19, 7, Phase::kForward, 40)};
  CHECK(!monitor.observe(stuck, 2));
  CHECK(!monitor.observe(stuck, 6.9));
  const auto hang = monitor.observe(stuck, 7.1);
  REQUIRE(hang);
  CHECK(hang->culprit.rank == 1);
  CHECK(hang->limit_s == 5);
}

TEST_CASE("heartbeat: waiting for a rank that writes a checkpoint is no hang", "[unit]") {
  auto monitor = warm_monitor();
  const std::vector writing{beat(0, 20, 7, Phase::kCheckpoint, 41),
                            beat(1, 22, 8, Phase::kConsensus, 42)};
  for (int now = 2; now < 61; ++now) REQUIRE(!monitor.observe(writing, now));
  CHECK(monitor.observe(writing, 62.1)->culprit.rank == 0);
}

TEST_CASE(
    "heartbeat: until the first step the start limit holds, also for a rank that never arrives",
    "[unit]") {
  HeartbeatMonitor monitor(2, kLimits, 0);
  RankBeat absent;
  absent.rank = 1;
  for (int now = 1; now <= 30; ++now) {
    REQUIRE(!monitor.observe(
        std::vector{beat(0, static_cast<std::uint64_t>(now), -1, Phase::kLoad), absent}, now));
  }
  CHECK(monitor.observe(std::vector{beat(0, 99, -1, Phase::kLoad), absent}, 30.5)->culprit.rank ==
        1);
}

TEST_CASE("heartbeat: events keep a slow rank alive, an ended rank is not watched", "[unit]") {
  auto monitor = warm_monitor();
  for (int i = 0; i < 30; ++i) {
    const auto n = 20 + static_cast<std::uint64_t>(i);
    REQUIRE(!monitor.observe(
        std::vector{beat(0, 20, 7, Phase::kReduce, 41), beat(1, n, 7, Phase::kForward, 40)},
        2.0 + i));
  }
  auto gone = beat(1, 50, 7, Phase::kForward, 40);
  gone.ended = true;
  CHECK(!monitor.observe(std::vector{beat(0, 51, 7, Phase::kReduce, 41), gone}, 33));
}

TEST_CASE("heartbeat: a pause of the launcher itself is not held against the ranks", "[unit]") {
  auto monitor = warm_monitor();
  const std::vector same{beat(0, 9, 1, Phase::kForward), beat(1, 9, 1, Phase::kForward)};
  CHECK(!monitor.observe(same, 100));
  CHECK(!monitor.observe(same, 104));
  CHECK(monitor.observe(same, 106));
}

TEST_CASE(
    "heartbeat: progress is step, collective, micro step, phase; a stopped process loses a tie",
    "[unit]") {
  CHECK(compare_progress(beat(0, 1, 3, Phase::kGather, 9), beat(1, 1, 4, Phase::kData, 9)) < 0);
  CHECK(compare_progress(beat(0, 1, 3, Phase::kGather, 8), beat(1, 1, 3, Phase::kForward, 9)) < 0);
  CHECK(compare_progress(beat(0, 1, 3, Phase::kForward, 9), beat(1, 1, 3, Phase::kReduce, 9)) < 0);
  CHECK(compare_progress(beat(0, 1, 3, Phase::kReduce, 9), beat(1, 1, 3, Phase::kReduce, 9)) == 0);
  RankBeat stopped = beat(1, 1, 3, Phase::kReduce, 9);
  stopped.state = 'T';
  stopped.heard_s = 100;
  CHECK(compare_progress(stopped, beat(0, 1, 3, Phase::kReduce, 9)) < 0);
}
