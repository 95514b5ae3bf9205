// What answers questions about pictures, as the queue and the routes see it: the one implementation
// (launcher/serve/detector) needs LibTorch, these do not.
#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace muster::launcher {

struct Question {
  std::string name;       // of the picture, for the answer
  std::string bytes;      // of its file
  std::string prompt;     // "": the config's
  double threshold = -1;  // below 0: the config's
  bool upright = false;   // turn the picture as EXIF says
};

// A question whose picture is decoded.
class Prepared {
 public:
  virtual ~Prepared() = default;
  virtual std::size_t bytes() const = 0;  // that it holds
};

class DetectBackend {
 public:
  virtual ~DetectBackend() = default;
  // Thread-safe. Throws DataError for what is no picture, or too large a one.
  virtual std::unique_ptr<Prepared> prepare(const Question& question) = 0;
  // One entry of detections.json per question, in order. Called by one thread, always the same.
  // Throws Error; which question is to blame shows when each is asked alone.
  virtual std::vector<nlohmann::json> answer(std::span<const std::unique_ptr<Prepared>> asked) = 0;
  // {"checkpoint", "threshold", "prompt", "classes", "open"}. Thread-safe.
  virtual nlohmann::json facts() = 0;
};

}  // namespace muster::launcher
