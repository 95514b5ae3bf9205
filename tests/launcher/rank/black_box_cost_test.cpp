// What the black box costs a step of the demo's model: events counted in a real run, each priced by
// a loop of them.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdio>
#include <vector>

#include "base/files.h"
#include "base/flight_recorder.h"
#include "launcher/rank/rank_status.h"
#include "trainer/tiny_run.h"

using namespace muster;

namespace {

double seconds_per_event() {
  const TempDir dir;
  FlightRecorder recorder(dir.path() / "rank-0.bin", 0, 1);
  constexpr int kRounds = 5, kEach = 100'000;
  double best = 1;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kEach; ++i) recorder.record(Phase::kReduce, i, i);
    best = std::min(
        best,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kEach);
  }
  return best;
}

}  // namespace

TEST_CASE("black box: at most a thousandth of a step", "[ranks]") {
  const TempDir dir;
  std::vector<double> seconds;
  test::run_threads(test::tiny_config(dir.path(), {"schedule.max_steps=6"}), 1,
                    [&](trainer::Trainer& trainer) {
                      for (int step = 0; step < 6; ++step)
                        seconds.push_back(trainer.train_step().seconds());
                    });
  const auto box = read_flight_log(launcher::flight_file(dir.path(), 0));
  REQUIRE(box);
  const double events = static_cast<double>(box->written) / static_cast<double>(seconds.size());
  const double step =
      *std::min_element(seconds.begin(), seconds.end());  // the worst case for the black box
  const double share = events * seconds_per_event() / step;
  std::printf("black box: %.0f events in a step of %.0f ms: %.5f %% of it\n", events, 1e3 * step,
              100 * share);
  CHECK(events > 20);
  CHECK(share < 0.001);
}
