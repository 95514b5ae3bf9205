#include "launcher/rank/first_failure.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>
#include <span>

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

RankEvidence ended(int rank, int code, int signal, double end, Phase phase = Phase::kReduce) {
  RankEvidence r;
  r.status.rank = rank;
  r.status.host = "node";
  r.status.exit_code = code;
  r.status.signal = signal;
  r.status.end_unix = end;
  r.last = FlightEvent{};
  r.last->phase = phase;
  r.last->step = 12;
  return r;
}

RankEvidence torn_down(int rank, double end) {
  RankEvidence r = ended(rank, 137, 9, end);
  r.status.torn_down = true;
  return r;
}

}  // namespace

TEST_CASE("first failure: the earliest root wins, consequences do not", "[unit]") {
  const std::vector killed{torn_down(0, 10.2), ended(1, 137, 9, 10.0), torn_down(2, 10.1)};
  const auto first = first_failure(killed);
  REQUIRE(first);
  CHECK(first->rank.status.rank == 1);
  CHECK_THAT(
      first->what,
      ContainsSubstring("rank 1 on node was killed by signal 9 (KILL) in phase reduce of step 12"));
  CHECK(exit_code_for(first->rank.status) == 70);

  std::vector complained{ended(0, 70, 0, 9.9),
                         ended(1, 137, 9, 10.0)};  // clocks and schedulers are not perfect
  CHECK(first_failure(complained)->rank.status.rank == 0);
  complained[0].status.consequence = true;
  CHECK(first_failure(complained)->rank.status.rank == 1);

  std::vector spoke{ended(0, 70, 0, 10.0),
                    ended(1, 77, 0, 10.5)};  // 1 spoke first, then took longer to leave
  spoke[1].status.error = "NaN";
  spoke[1].status.error_unix = 9.5;
  CHECK(first_failure(spoke)->rank.status.rank == 1);
  CHECK(exit_code_for(first_failure(spoke)->rank.status) == 77);
}

TEST_CASE("first failure: a rank that said what is wrong and was ended while it aborted",
          "[unit]") {
  std::vector ranks{torn_down(0, 10.0), torn_down(1, 10.1)};
  ranks[0].status.error = "a peer is gone";
  ranks[0].status.error_unix = 9.8;
  ranks[0].status.consequence = true;
  CHECK_FALSE(first_failure(ranks));
  ranks[1].status.error = "NaN";
  ranks[1].status.error_unix = 9.9;
  const auto first = first_failure(ranks);
  REQUIRE(first);
  CHECK(first->rank.status.rank == 1);
  CHECK(first->what == "rank 1 on node failed in phase reduce of step 12: NaN");
}

TEST_CASE("first failure: those that only react are blamed when nobody else can be", "[unit]") {
  std::vector ranks{ended(0, 70, 0, 9.0), ended(1, 143, SIGTERM, 9.5), ended(2, 139, SIGSEGV, 10)};
  CHECK(first_failure(ranks)->rank.status.rank == 0);
  CHECK(first_failure(ranks, {0})->rank.status.rank == 2);  // the diary knows 0's words
  CHECK(first_failure(std::span(ranks).first(2), {0})->rank.status.rank == 0);
  ranks[2].status.torn_down = true;
  CHECK(first_failure(std::span(ranks).last(2), {2})->rank.status.rank == 1);
  CHECK(!first_failure(std::span(ranks).last(1)));
}

TEST_CASE("first failure: leaving with 0 before the end is one; 75, done and torn down are not",
          "[unit]") {
  CHECK(!first_failure(std::vector{ended(0, 0, 0, 10, Phase::kDone), ended(1, 75, 0, 10)}));
  CHECK(!first_failure(std::vector{torn_down(0, 10)}));
  const auto early =
      first_failure(std::vector{torn_down(0, 11), ended(1, 0, 0, 10, Phase::kForward)});
  REQUIRE(early);
  CHECK(early->rank.status.rank == 1);
  std::vector early_end{ended(0, 0, 0, 9, Phase::kForward), ended(1, 137, 9, 10)};
  CHECK(ended_badly(early_end[0]));
  CHECK(first_failure(early_end)->rank.status.rank == 0);
  early_end[0].status.end_unix = 0;  // it still runs
  early_end[0].status.exit_code = -1;
  CHECK(!ended_badly(early_end[0]));
  CHECK(first_failure(early_end)->rank.status.rank == 1);
  RankStatus three;
  three.exit_code = 3;
  CHECK(exit_code_for(three) == 70);
}
