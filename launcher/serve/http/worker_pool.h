// The threads that talk to clients. When all of them are busy and as many clients wait as may wait,
// nobody is let in: further clients wait in the system's own queue.
#pragma once

#include <httplib.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace muster::launcher {

class WorkerPool final : public httplib::TaskQueue {
 public:
  WorkerPool(std::size_t threads, std::size_t most_waiting);
  ~WorkerPool() override;
  void enqueue(std::function<void()> task) override;  // waits while the queue is full
  void shutdown() override;                           // once all tasks are done

 private:
  void work();

  std::size_t most_waiting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace muster::launcher
