// The files of a run folder that people look at: logs and drawn predictions, listed and read by
// name, nothing else.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace muster::launcher {

std::vector<std::string> log_names(const std::filesystem::path& run);      // of logs/
std::vector<std::string> picture_names(const std::filesystem::path& run);  // of predictions/

// The last whole lines of a log, at most so many bytes, safe to show; nothing when it is not there.
std::optional<std::string> log_tail(const std::filesystem::path& run, const std::string& name,
                                    std::size_t most_bytes);

// [{"picture", "detections"}] of predictions/detections.json, in its order.
nlohmann::json pictures(const std::filesystem::path& run);

struct PictureBytes {
  std::string type;
  std::string bytes;
};
std::optional<PictureBytes> picture(const std::filesystem::path& run, const std::string& name);

}  // namespace muster::launcher
