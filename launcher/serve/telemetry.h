// What the server counted, as Prometheus reads it (text format 0.0.4).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>

#include "launcher/serve/detect_queue.h"

namespace muster::launcher {

class Telemetry {
 public:
  void answered(const std::string& pattern, int status);  // thread-safe
  // `runs` as RunViews::list() has them.
  std::string as_text(const nlohmann::json& runs,
                      const std::optional<DetectQueue::Counts>& detector) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::uint64_t> requests_;
};

}  // namespace muster::launcher
