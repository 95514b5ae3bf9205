#include "launcher/supervise/stop_request.h"

#include <fmt/core.h>

#include <csignal>
#include <cstring>

namespace muster::launcher {
namespace {

using namespace std::chrono_literals;

constexpr auto kSamePress = 300ms;

}  // namespace

NewRequest take_signals(SignalHub& hub, StopRequest& request) {
  NewRequest asked = NewRequest::kNone;
  while (const auto signal = hub.next()) {
    const auto number = static_cast<int>(signal->ssi_signo);
    if (number == SIGCHLD) continue;
    const auto now = std::chrono::steady_clock::now();
    if (!request.stop) {
      request.stop = true;
      request.signal = number;
      request.since = now;
      asked = NewRequest::kStop;
    } else if (number == SIGINT && !request.kill) {
      const bool same_press = request.signal == SIGINT && now - request.since < kSamePress;
      if (same_press) continue;
      request.kill = true;
      asked = NewRequest::kKill;
    }
  }
  return asked;
}

std::string describe_stop(const StopRequest& request, std::int64_t newest_checkpoint) {
  std::string text =
      fmt::format("got {}: stopping after this step; the checkpoint will be committed",
                  ::sigabbrev_np(request.signal));
  if (request.signal == SIGINT)
    text += fmt::format("; press Ctrl-C again to stop at once and lose the steps since {}",
                        since_what(newest_checkpoint));
  return text;
}

std::string since_what(std::int64_t newest_checkpoint) {
  return newest_checkpoint >= 0 ? fmt::format("step {}", newest_checkpoint) : "the start";
}

}  // namespace muster::launcher
