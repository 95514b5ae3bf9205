#include "launcher/supervise/stop_request.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <csignal>

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("stop request: one press may arrive twice, the next one kills", "[unit]") {
  SignalHub hub{SIGINT, SIGUSR2};
  StopRequest request;
  CHECK(take_signals(hub, request) == NewRequest::kNone);
  ::raise(SIGINT);
  CHECK(take_signals(hub, request) == NewRequest::kStop);
  ::raise(SIGINT);  // whoever else got the press passed it on
  CHECK(take_signals(hub, request) == NewRequest::kNone);
  CHECK_FALSE(request.kill);
  request.since -= 1s;
  ::raise(SIGINT);
  CHECK(take_signals(hub, request) == NewRequest::kKill);
  ::raise(SIGINT);
  CHECK(take_signals(hub, request) == NewRequest::kNone);
}

TEST_CASE("stop request: a scheduler may ask as often as it likes", "[unit]") {
  SignalHub hub{SIGINT, SIGUSR2};
  StopRequest request;
  for (const NewRequest expected : {NewRequest::kStop, NewRequest::kNone, NewRequest::kNone}) {
    ::raise(SIGUSR2);
    CHECK(take_signals(hub, request) == expected);
  }
  CHECK_FALSE(request.kill);
}

TEST_CASE("stop request: the line says what a second press would lose", "[unit]") {
  const StopRequest pressed{.stop = true, .signal = SIGINT};
  CHECK_THAT(describe_stop(pressed, 40), ContainsSubstring("got INT: stopping after this step") &&
                                             ContainsSubstring("press Ctrl-C again") &&
                                             ContainsSubstring("since step 40"));
  CHECK_THAT(describe_stop(pressed, -1), ContainsSubstring("since the start"));
  const StopRequest asked{.stop = true, .signal = SIGUSR2};
  CHECK_THAT(describe_stop(asked, 40), !ContainsSubstring("Ctrl-C"));
}
