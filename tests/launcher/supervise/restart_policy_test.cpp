#include "launcher/supervise/restart_policy.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster;
using namespace muster::launcher;

TEST_CASE("restart policy: budget, progress, and codes that end it", "[unit]") {
  RestartPolicy none(0);
  CHECK(none.decide({70, false, false}).exit_code == 70);
  for (const int code : {0, 64, 65, 69, 75, 77, 78, 93}) {
    RestartPolicy policy(5);
    const Decision d = policy.decide({code, true, false});
    CHECK(!d.restart);
    CHECK(d.exit_code == code);
  }
  RestartPolicy one(1);
  CHECK(one.decide({71, false, false}).restart);
  CHECK(one.decide({71, false, false}).exit_code == 71);  // spent

  RestartPolicy stuck(10);
  CHECK(stuck.decide({70, false, false}).restart);
  CHECK(stuck.decide({70, false, false}).restart);
  CHECK(stuck.decide({70, false, false}).exit_code == 93);

  RestartPolicy moving(1);  // each failure after a newer checkpoint fills the budget again
  for (int i = 0; i < 20; ++i) REQUIRE(moving.decide({70, true, false}).restart);

  RestartPolicy asked(5);
  CHECK(!asked.decide({70, true, true}).restart);

  RestartPolicy remedied(
      1);  // a changed attempt costs nothing, and what failed before it was another run
  for (int i = 0; i < 9; ++i) REQUIRE(remedied.decide({78, false, false, true}).restart);
  CHECK(remedied.decide({70, false, false}).restart);
  CHECK(!RestartPolicy(0).decide({78, false, false, true}).restart);
  CHECK(!RestartPolicy(5).decide({78, false, true, true}).restart);

  const Decision hopeless = RestartPolicy(5).decide({.exit_code = 74, .hopeless = true});
  CHECK(!hopeless.restart);
  CHECK(hopeless.exit_code == 74);
}
