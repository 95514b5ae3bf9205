#include "trainer/step_timer.h"

#include <catch2/catch_test_macros.hpp>
#include <stdexcept>

#include "base/files.h"
#include "support/test_paths.h"

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
