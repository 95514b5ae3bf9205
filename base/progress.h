// A progress line with rate and ETA on stderr for anything over two seconds: redrawn in place on a
// terminal, one line every ten seconds otherwise, silent for quicker work.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace muster {

class Progress {
 public:
  Progress(std::string what, std::int64_t total);  // "packing", 2000; total 0 when unknown
  ~Progress();
  void add(std::int64_t n = 1);

 private:
  void draw(bool last);

  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::int64_t total_, done_ = 0;
  Clock::time_point start_ = Clock::now(), drawn_ = start_;
  bool terminal_, shown_ = false;
};

}  // namespace muster
