// The wrapper's side of the beats: it looks at the rank's black box and writes lines to stdout,
// which the starter carries. It never waits for a reader that is slow, except at the end.
#pragma once

#include <filesystem>
#include <string>

#include "launcher/rank/heartbeat.h"
#include "launcher/rank/rank_status.h"

namespace muster::launcher {

class BeatSender {
 public:
  static constexpr double kEvery_s = 1;

  // Without a token nobody listens, and nothing is sent.
  BeatSender(std::string token, int rank, std::filesystem::path box);

  // Sends a beat when one is due.
  void beat();
  // How long until the next one is due; -1: never.
  int wait_ms() const;
  // Sends a beat and the status behind it, at once: the rank started, or ended.
  void tell(const RankStatus& status);

 private:
  std::string next_line();
  void send(std::string_view lines, int patience_ms) const;

  std::string token_;
  int rank_;
  std::filesystem::path box_;
  std::string host_;
  std::uint64_t written_ = 0;
  double changed_s_;  // when the black box last changed, on this machine's monotonic clock
  double sent_s_;
};

}  // namespace muster::launcher
