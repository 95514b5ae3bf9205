// Questions from many clients, answered by one detector: those that wait together go into the model
// together. Neither more questions nor more bytes wait than may.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "launcher/serve/detect_backend.h"

namespace muster::launcher {

struct QueueLimits {
  std::size_t waiting = 64;                    // pictures
  std::size_t bytes = 1'000'000'000;           // of decoded pictures
  std::size_t batch = 8;                       // pictures in the model at a time
  std::chrono::milliseconds patience{60'000};  // until an answer must be there
};

class DetectQueue {
 public:
  struct Outcome {
    int status = 200;
    std::string error;     // unless 200
    nlohmann::json entry;  // when 200
  };
  // What happened so far, for /metrics.
  struct Counts {
    std::uint64_t pictures = 0;  // answered with 200
    std::uint64_t refused = 0;   // 429
    std::uint64_t batches = 0;
    double seconds = 0;  // in the model
    std::size_t waiting = 0;
  };

  DetectQueue(DetectBackend& backend, const QueueLimits& limits);
  ~DetectQueue();
  DetectQueue(const DetectQueue&) = delete;
  DetectQueue& operator=(const DetectQueue&) = delete;

  // One outcome per question, once all are there. All have status 429 when there is no room for all
  // of them; others may have 422 (no usable picture), 500, 503 or 504 each. Thread-safe.
  std::vector<Outcome> ask(const std::vector<Question>& questions);
  // Answers all who wait, and all who come, with 503. Others may still be in ask().
  void stop();
  Counts counts() const;
  const QueueLimits& limits() const { return limits_; }

 private:
  struct Item;

  bool take_places(std::size_t count);
  void leave_places(std::size_t count);
  std::shared_ptr<Item> prepared(const Question& question);
  void work();
  std::vector<std::shared_ptr<Item>> next_batch();
  void answer_all(std::vector<std::shared_ptr<Item>> batch);
  bool try_answer(std::span<const std::shared_ptr<Item>> items, std::string& error, int& status);

  DetectBackend& backend_;
  QueueLimits limits_;
  std::counting_semaphore<> decoders_;
  mutable std::mutex mutex_;
  std::condition_variable came_, answered_;
  std::deque<std::shared_ptr<Item>> waiting_;
  std::size_t places_ = 0;  // taken, by pictures being decoded, waiting or in the model
  std::size_t bytes_ = 0;   // of the decoded ones
  Counts counts_;
  bool stopping_ = false;
  std::thread worker_;
};

}  // namespace muster::launcher
