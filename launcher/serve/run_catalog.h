// The runs that are shown: run folders as named, and those in folders of runs as named. Requests
// name a run by its id, which is looked up here and never becomes a path.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace muster::launcher {

// Does it hold what a run leaves: launch.json, metrics.jsonl, or config.yaml with logs/?
bool is_run_folder(const std::filesystem::path& folder);

class RunCatalog {
 public:
  static constexpr std::size_t kMostRuns = 500;

  // Each is a run folder or a folder of runs, which may be nested three deep.
  explicit RunCatalog(std::vector<std::filesystem::path> places);

  // id -> folder, as they lie there now: looked for anew once a second at most. An id is the
  // folder's name ("demo"), with the folders above it inside its place ("sweep~lr-3"); a second run
  // of an id is ID~2. Thread-safe.
  std::map<std::string, std::filesystem::path> runs() const;
  std::optional<std::filesystem::path> find(const std::string& id) const;

 private:
  std::map<std::string, std::filesystem::path> look() const;

  std::vector<std::filesystem::path> places_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::filesystem::path> seen_;
  mutable double seen_at_ = -1e9;
};

}  // namespace muster::launcher
