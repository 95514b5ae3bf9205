#include "launcher/serve/run_catalog.h"

#include <fmt/core.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/utf8.h"

namespace muster::launcher {
namespace {

constexpr int kDepth = 3;
constexpr std::size_t kMostEntries = 20'000;  // of one folder: this is no folder of runs
constexpr const char* kBetween = "~";  // no separator of paths, and needs no escape in an URL

using Runs = std::map<std::string, fs::path>;

std::string own_name(const fs::path& folder) {
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(fs::absolute(folder), ignored);
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

void add(Runs& runs, const std::string& name, const fs::path& folder) {
  if (runs.size() >= RunCatalog::kMostRuns) return;
  const std::string id = to_valid_utf8(name);
  if (runs.try_emplace(id, folder).second) return;
  for (int k = 2; !runs.try_emplace(fmt::format("{}{}{}", id, kBetween, k), folder).second; ++k) {
  }
}

// Folders that are links lead out of the place, and are left out.
std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  std::size_t entries = 0;
  for (fs::directory_iterator it(folder, error), end; it != end && !error; it.increment(error)) {
    if (++entries > kMostEntries) break;
    std::error_code ignored;
    if (it->symlink_status(ignored).type() == fs::file_type::directory) found.push_back(it->path());
  }
  std::ranges::sort(found);
  return found;
}

void look_into(const fs::path& folder, const std::string& prefix, int depth, Runs& runs) {
  for (const fs::path& inner : folders_in(folder)) {
    const std::string name = prefix + inner.filename().string();
    if (is_run_folder(inner))
      add(runs, name, inner);
    else if (depth > 1)
      look_into(inner, name + kBetween, depth - 1, runs);
  }
}

}  // namespace

bool is_run_folder(const fs::path& folder) {
  std::error_code ignored;
  const auto has = [&](const char* name) { return fs::exists(folder / name, ignored); };
  return has("launch.json") || has("metrics.jsonl") || (has("config.yaml") && has("logs"));
}

RunCatalog::RunCatalog(std::vector<fs::path> places) : places_(std::move(places)) {}

Runs RunCatalog::look() const {
  Runs runs;
  for (const fs::path& place : places_) {
    if (is_run_folder(place))
      add(runs, own_name(place), place);
    else
      look_into(place, "", kDepth, runs);
  }
  return runs;
}

Runs RunCatalog::runs() const {
  constexpr double kFresh_s = 1;
  const std::lock_guard lock(mutex_);
  if (seconds_now() - seen_at_ > kFresh_s) {
    seen_ = look();
    seen_at_ = seconds_now();
  }
  return seen_;
}

std::optional<fs::path> RunCatalog::find(const std::string& id) const {
  const Runs all = runs();
  const auto found = all.find(id);
  if (found == all.end()) return std::nullopt;
  return found->second;
}

}  // namespace muster::launcher
