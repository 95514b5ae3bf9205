// Where a setting comes from: for messages that tell a person which line to change.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace muster::configs {

struct Place {
  std::string file;   // the config itself, or a file it extends
  int line = 0;       // 1-based
  std::string value;  // as written, lists and maps in flow style
};

// Finds the line that decides `key` ("groups.model.lr"). Returns nothing when the files cannot be
// read or do not say it.
std::optional<Place> locate(const std::filesystem::path& config, const std::string& key);

}  // namespace muster::configs
