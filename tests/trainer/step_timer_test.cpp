#include "trainer/step_timer.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <stdexcept>

#include "base/files.h"
#include "support/test_paths.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

Phase last_phase(const fs::path& file) {
  const auto log = read_flight_log(file, 1);
  REQUIRE(log);
  REQUIRE_FALSE(log->events.empty());
  return log->events.back().phase;
}

TEST_CASE("a scope's phase ends with it, and the one before goes on", "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "rank-0.bin";
  FlightRecorder recorder(file, 0, 1);
  StepTimer timer(recorder);
  CHECK(last_phase(file) == Phase::kStart);
  timer.enter(Phase::kIdle);
  {
    const StepTimer::Scope outer(timer, Phase::kCheckpoint);
    {
      const StepTimer::Scope inner(timer, Phase::kEvaluate);
      CHECK(last_phase(file) == Phase::kEvaluate);
    }
    CHECK(last_phase(file) == Phase::kCheckpoint);
  }
  CHECK(last_phase(file) == Phase::kIdle);
}

TEST_CASE("the black box names each collective by what it is for, when it begins", "[unit]") {
  const TempDir dir;
  const std::vector<std::string> settings{"schedule.max_steps=3", "checkpoint.every_steps=1"};
  test::run_threads(test::tiny_config(dir.path(), settings), 2);
  const auto log = read_flight_log(dir.path() / "black_box" / "rank-1.bin", 1000);
  REQUIRE(log);
  const std::vector<FlightEvent>& events = log->events;
  for (const Phase phase : {Phase::kReduce, Phase::kConsensus, Phase::kGather}) {
    INFO(phase_name(phase));
    CHECK(std::ranges::any_of(events, [&](const FlightEvent& event) {
      return event.phase == phase && event.step == 1 && event.collective > 0;
    }));
  }
  // A gather that is known to be done only when the checkpoint waits for it is no gather then, or
  // the rank would be taken for one that has not come so far.
  CHECK(std::ranges::adjacent_find(events, [](const FlightEvent& a, const FlightEvent& b) {
          return a.phase == Phase::kCheckpoint && b.phase == Phase::kGather;
        }) == events.end());
}

TEST_CASE("the recorder keeps the phase in which an exception was thrown", "[unit][fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "rank-0.bin";
  FlightRecorder recorder(file, 0, 1);
  StepTimer timer(recorder);
  timer.enter(Phase::kIdle);
  const auto fail = [&] {
    const StepTimer::Scope phase(timer, Phase::kEvaluate);
    throw std::runtime_error("out of memory");
  };
  CHECK_THROWS_AS(fail(), std::runtime_error);
  CHECK(last_phase(file) == Phase::kEvaluate);
}

}  // namespace
}  // namespace muster::trainer
