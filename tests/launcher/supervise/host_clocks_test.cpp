#include "launcher/supervise/host_clocks.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace muster::launcher;

namespace {

RankStatus status_on(const char* host, int rank, double start, double end = 0) {
  RankStatus status;
  status.host = host;
  status.rank = rank;
  status.start_unix = start;
  status.end_unix = end;
  return status;
}

}  // namespace

TEST_CASE("host clocks: who is off is known, and times become ours", "[unit]") {
  HostClocks clocks;
  clocks.see(status_on("right", 0, 1000), 1000.2);
  clocks.see(status_on("fast", 1, 4600), 1000.2);
  clocks.see(status_on("slow", 2, 990), 1000.4);
  clocks.see(status_on("slow", 2, 990), 1500);      // nothing new in it
  clocks.see(status_on("right", 3, 1000.3), 1030);  // seen late: its disk is slow, not its clock
  const auto offsets = clocks.offsets();
  CHECK(offsets.size() == 2);
  CHECK(offsets.at("fast") == Catch::Approx(3599.8));
  CHECK(offsets.at("slow") == Catch::Approx(-10.4));
  RankStatus fast = status_on("fast", 1, 4600, 4650);
  clocks.correct(fast);
  CHECK(fast.end_unix == Catch::Approx(1050.2));
  CHECK(fast.error_unix == 0);
  RankStatus right = status_on("right", 0, 1000, 1050);
  clocks.correct(right);
  CHECK(right.end_unix == 1050);
}
