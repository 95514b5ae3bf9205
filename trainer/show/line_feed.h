// Lines for a program of somebody else's (logging.command): it reads them from its stdin, as slowly
// as it likes. Nothing that it does or fails to do holds up the caller: lines wait in a queue of
// bounded size, and a program that ends is missed once, in a warning.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/process/fd.h"
#include "base/process/spawn.h"

namespace muster::trainer {

class LineFeed {
 public:
  struct Options {
    std::vector<std::string> command;  // program and arguments
    Environment environment = {};      // set for it, on top of this process's own
    std::size_t most_bytes = 8 << 20;  // of the lines that wait; what comes then is lost, and told
    std::chrono::milliseconds patience{10'000};  // at the end: for what still waits, and to leave
  };

  // A program that cannot be started is a warning, too.
  explicit LineFeed(Options options);
  // Gives the program all lines and the end of its input, waits for it for `patience`, and ends it.
  ~LineFeed();
  LineFeed(const LineFeed&) = delete;
  LineFeed& operator=(const LineFeed&) = delete;

  // `line` without its end. Never waits for the program.
  void add(const std::string& line);
  std::int64_t lost() const;  // lines that found no room, or no program

 private:
  void write_all_lines();
  bool write_some(std::string& text);
  bool give_up_waiting();
  void warn_that_it_ended();

  Options options_;
  Fd input_;
  pid_t pid_ = -1;
  bool alive_ = false;  // of the program, as far as is known
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::int64_t lost_ = 0;
  bool closing_ = false;
  std::chrono::steady_clock::time_point deadline_;
  std::thread writer_;
};

}  // namespace muster::trainer
