#include "base/in_order.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace muster {
namespace {

// What the threads share. Items are handed out in order, so every item before one that throws has
// been begun, and the caller, who looks at them in order, meets the first that threw whatever the
// timing.
class Queue {
 public:
  Queue(std::int64_t n, std::int64_t slots, const std::function<void(std::int64_t)>& work)
      : n_(n), work_(work), outcomes_(static_cast<std::size_t>(slots)) {}

  // A worker's part.
  void work_on() {
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock, [&] { return over() || next_ < taken_ + slots(); });
      if (over()) return;
      const std::int64_t i = next_++;
      lock.unlock();
      const std::exception_ptr error = run(i);
      lock.lock();
      outcome_of(i) = {.ended = true, .error = error};
      ready_.notify_one();
      if (error) close();
    }
  }

  // The caller's: waits until item i has ended, and throws what it threw.
  void await(std::int64_t i) {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [&] { return outcome_of(i).ended; });
    const std::exception_ptr error = outcome_of(i).error;
    outcome_of(i) = {};
    if (error) std::rethrow_exception(error);
  }

  // There is room for another item.
  void took() {
    const std::lock_guard lock(mutex_);
    ++taken_;
    room_.notify_one();
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    close();
  }

 private:
  struct Outcome {
    bool ended = false;
    std::exception_ptr error = nullptr;
  };

  std::int64_t slots() const { return static_cast<std::int64_t>(outcomes_.size()); }
  Outcome& outcome_of(std::int64_t i) { return outcomes_[static_cast<std::size_t>(i % slots())]; }
  bool over() const { return stopped_ || next_ == n_; }

  void close() {
    stopped_ = true;
    room_.notify_all();
  }

  std::exception_ptr run(std::int64_t i) const {
    try {
      work_(i);
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  const std::int64_t n_;
  const std::function<void(std::int64_t)>& work_;
  std::mutex mutex_;               // guards what follows
  std::condition_variable room_;   // for workers
  std::condition_variable ready_;  // for the caller
  std::int64_t next_ = 0;          // the item that is begun next
  std::int64_t taken_ = 0;         // items that the caller is done with
  bool stopped_ = false;           // nothing more is begun
  std::vector<Outcome> outcomes_;  // of item i in place i % slots()
};

// Ends the workers when the caller leaves, whatever takes it out.
class StopAtEnd {
 public:
  explicit StopAtEnd(Queue& queue) : queue_(queue) {}
  ~StopAtEnd() { queue_.stop(); }
  StopAtEnd(const StopAtEnd&) = delete;
  StopAtEnd& operator=(const StopAtEnd&) = delete;

 private:
  Queue& queue_;
};

}  // namespace

void take_in_order(std::int64_t n, const InOrder& how,
                   const std::function<void(std::int64_t)>& work,
                   const std::function<void(std::int64_t)>& take) {
  if (how.threads <= 1) {
    for (std::int64_t i = 0; i < n; ++i) {
      work(i);
      take(i);
    }
    return;
  }
  Queue queue(n, how.slots(), work);
  std::vector<std::jthread> workers;  // joined after `at_end` has told them to end
  const StopAtEnd at_end(queue);
  for (std::int64_t t = 0; t < std::min<std::int64_t>(how.threads, n); ++t)
    workers.emplace_back([&queue] { queue.work_on(); });
  for (std::int64_t i = 0; i < n; ++i) {
    queue.await(i);
    take(i);
    queue.took();
  }
}

}  // namespace muster
