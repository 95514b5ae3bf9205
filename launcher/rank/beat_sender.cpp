#include "launcher/rank/beat_sender.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/process/fd.h"
#include "launcher/rank/beat.h"

namespace muster::launcher {

BeatSender::BeatSender(std::string token, int rank, std::filesystem::path box)
    : token_(std::move(token)),
      rank_(rank),
      box_(std::move(box)),
      host_(own_host()),
      changed_s_(seconds_now()),
      sent_s_(changed_s_) {}

int BeatSender::wait_ms() const {
  if (token_.empty()) return -1;
  const double left_s = std::max(0.0, sent_s_ + kEvery_s - seconds_now());
  return static_cast<int>(1e3 * left_s) + 1;
}

void BeatSender::beat() {
  if (token_.empty() || seconds_now() - sent_s_ < kEvery_s) return;
  send(next_line(), 0);
}

void BeatSender::tell(const RankStatus& status) {
  constexpr int kPatience_ms = 2000;
  if (token_.empty()) return;
  std::string lines = next_line();
  lines += status_line(token_, status);
  send(lines, kPatience_ms);
}

std::string BeatSender::next_line() {
  const double now_s = seconds_now();
  RankBeat beat = read_beat(box_, rank_, host_);
  if (beat.written != written_) {
    written_ = beat.written;
    changed_s_ = now_s;
  }
  beat.silent_s = now_s - changed_s_;
  sent_s_ = now_s;
  return beat_line(token_, beat);
}

// A pipe that has room takes these few bytes whole. One that is full belongs to a launcher that is
// stopped; the rank must not wait for it.
void BeatSender::send(std::string_view lines, int patience_ms) const {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, patience_ms) == 1 && (out.revents & POLLOUT) != 0)
    write_until_done(STDOUT_FILENO, lines);
}

}  // namespace muster::launcher
