#include "sharding/comm_queue.h"

#include "base/trace.h"

namespace muster::sharding {

CommQueue::CommQueue(bool threaded) {
  if (threaded) worker_ = std::thread([this] { work(); });
}

void CommQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (worker_.joinable()) worker_.join();
}

CommQueue::Ticket CommQueue::post(std::function<void()> job) {
  std::unique_lock lock(mutex_);
  throw_if_failed();
  const Ticket ticket = ++posted_;
  if (worker_.joinable()) {
    jobs_.push_back(std::move(job));
    lock.unlock();
    changed_.notify_all();
    return ticket;
  }
  lock.unlock();
  try {
    job();
  } catch (...) {
    failure_ = std::current_exception();
    throw;
  }
  done_ = ticket;
  return ticket;
}

void CommQueue::wait(Ticket ticket) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ >= ticket || failure_ != nullptr; });
  throw_if_failed();
}

void CommQueue::drain() {
  Ticket newest = 0;
  {
    const std::lock_guard lock(mutex_);
    newest = posted_;
  }
  wait(newest);
}

bool CommQueue::done(Ticket ticket) const {
  const std::lock_guard lock(mutex_);
  return done_ >= ticket;
}

bool CommQueue::idle() const {
  const std::lock_guard lock(mutex_);
  return done_ == posted_;
}

void CommQueue::throw_if_failed() const {
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

// What holds at the loop's entry: the lock is held, no job runs, and done_ + jobs_.size() is what
// was posted. Jobs run and are destroyed without the lock, since both may take other locks.
void CommQueue::work() {
  trace::name_thread("queue");
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    std::exception_ptr failure;
    try {
      job();
    } catch (...) {
      failure = std::current_exception();
    }
    job = nullptr;  // gives its buffers back before anybody is told
    lock.lock();
    std::deque<std::function<void()>> dropped;
    if (failure != nullptr) {
      failure_ = failure;
      dropped.swap(jobs_);
    } else {
      ++done_;
    }
    lock.unlock();
    dropped.clear();
    changed_.notify_all();
    lock.lock();
    if (failure_ != nullptr) return;
  }
}

}  // namespace muster::sharding
