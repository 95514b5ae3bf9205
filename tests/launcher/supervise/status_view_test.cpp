#include "launcher/supervise/status_view.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster::launcher;

TEST_CASE("status view: one line says state, step, loss and time to go", "[unit]") {
  RunStatus status;
  status.state = "running";
  status.step = 120;
  status.max_steps = 3000;
  status.loss = 1.2345678;
  status.eta_s = 187.0;
  CHECK(status_line(status) == "running, step 120 of 3000, loss 1.235, 3m 07s to go");
  CHECK_FALSE(is_over(status));
  status.state = "hang";
  status.exit_code = 71;
  status.restarts = 2;
  CHECK(status_line(status) == "hang (code 71), step 120 of 3000, loss 1.235, 2 restarts");
  CHECK(is_over(status));
}

TEST_CASE("status view: a run without a launcher is over when all its ranks are", "[unit]") {
  RunStatus status;
  status.state = "running or ended without a launcher";
  CHECK_FALSE(is_over(status));
  status.ranks_now = {{.rank = 0, .end = "code 0"}, {.rank = 1}};
  CHECK_FALSE(is_over(status));
  status.ranks_now[1].end = "signal 9";
  CHECK(is_over(status));
}

TEST_CASE("status view: what was drawn is rubbed out, wrapped lines too", "[unit]") {
  CHECK(rub_out("", 80) == "");
  CHECK(rub_out("one\ntwo\n", 80) == "\x1b[2A\r\x1b[J");
  CHECK(rub_out("0123456789\n\nx\n", 4) == "\x1b[5A\r\x1b[J");
}
