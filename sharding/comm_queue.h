// Jobs run in the order they are posted, on a worker thread (overlap) or at once in the caller. One
// is the only place collectives are issued from; another serves an optimizer on the host. After a
// job throws, the ones behind it are dropped and every later call throws that error.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace muster::sharding {

class CommQueue {
 public:
  using Ticket = std::int64_t;  // jobs are numbered from 1

  explicit CommQueue(bool threaded);
  ~CommQueue() { close(); }
  CommQueue(const CommQueue&) = delete;
  CommQueue& operator=(const CommQueue&) = delete;

  Ticket post(std::function<void()> job);
  void wait(Ticket ticket);  // returns when that job is done; throws what a job threw
  void run(std::function<void()> job) { wait(post(std::move(job))); }
  void drain();  // waits for everything posted
  bool done(Ticket ticket) const;
  bool idle() const;  // everything posted is done
  // Finishes what was posted, since other ranks wait for it. REQUIRES: nothing is posted
  // afterwards.
  void close();

 private:
  void work();
  void throw_if_failed() const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  Ticket posted_ = 0, done_ = 0;
  std::exception_ptr failure_;
  bool stop_ = false;
  std::thread worker_;  // last: it uses the members above
};

}  // namespace muster::sharding
