#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "base/progress.h"

namespace muster {
namespace {

// What the threads share. Indices are handed out in order, so every index below a failed one has
// been started and the smallest failing index is found whatever the timing.
struct Shared {
  Shared(const std::string& what, std::int64_t count, const std::function<void(std::int64_t)>& each)
      : n(count), body(each), progress(what, count) {}

  std::int64_t n;
  const std::function<void(std::int64_t)>& body;
  Progress progress;
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;  // guards what follows, and progress
  std::exception_ptr error;
  std::int64_t error_index = std::numeric_limits<std::int64_t>::max();

  void work() {
    for (std::int64_t i = next++; i < n; i = next++) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        next = n;
        if (i < error_index) {
          error_index = i;
          error = std::current_exception();
        }
        continue;
      }
      const std::lock_guard lock(mutex);
      progress.add();
    }
  }
};

}  // namespace

void parallel_for(const std::string& what, std::int64_t n, int threads,
                  const std::function<void(std::int64_t)>& body) {
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  Shared shared(what, n, body);
  {
    std::vector<std::jthread> helpers;
    for (int t = 1; t < std::min<std::int64_t>(threads, n); ++t)
      helpers.emplace_back([&shared] { shared.work(); });
    shared.work();
  }
  if (shared.error) std::rethrow_exception(shared.error);
}

}  // namespace muster
