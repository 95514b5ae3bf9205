#include "launcher/rank/run_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/step_folder.h"

namespace muster::launcher {
namespace {

constexpr int kOlderBlackBoxes = 8;

// Returns the number after `prefix`, -1 when the name is another.
std::int64_t numbered(const fs::path& path, std::string_view prefix) {
  const std::string name = path.filename().string();
  if (!std::string_view(name).starts_with(prefix)) return -1;
  std::int64_t number = -1;
  const char* first = name.data() + prefix.size();
  const auto [end, error] = std::from_chars(first, name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : -1;
}

std::int64_t highest(const fs::path& folder, std::string_view prefix) {
  std::int64_t found = -1;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder, absent))
    found = std::max(found, numbered(entry, prefix));
  return found;
}

}  // namespace

void make_run_folder(const fs::path& run_dir) {
  try {
    for (const char* part : {"logs", "black_box", "checkpoints"})
      fs::create_directories(run_dir / part);
  } catch (const fs::filesystem_error& error) {
    throw PreflightError(fmt::format(
        "cannot write the run folder {} (D-006): {}. Choose another run.dir or fix its rights",
        run_dir.string(), error.code().message()));
  }
}

std::int64_t newest_checkpoint(const fs::path& run_dir) {
  std::int64_t newest = -1;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(run_dir / "checkpoints", absent)) {
    std::error_code ignored;
    if (fs::exists(entry.path() / "manifest.json", ignored))
      newest = std::max(newest, step_of_name(entry.path().filename().string()).value_or(-1));
  }
  return newest;
}

std::vector<std::string> damaged_checkpoints(const fs::path& run_dir) {
  std::vector<std::string> names;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(run_dir / "checkpoints", absent)) {
    if (entry.path().extension() == kDamagedSuffix)
      names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

fs::path set_aside(const fs::path& run_dir) {
  std::vector<fs::path> parts;
  for (const char* name :
       {"checkpoints", "metrics.jsonl", "resumes.jsonl", "tensorboard", "report.html"}) {
    const fs::path part = run_dir / name;
    if (fs::exists(part) && (!fs::is_directory(part) || !fs::is_empty(part))) parts.push_back(part);
  }
  if (parts.empty()) return {};
  const fs::path aside = run_dir / fmt::format("before-{}", highest(run_dir, "before-") + 1);
  fs::create_directories(aside);
  for (const fs::path& part : parts) fs::rename(part, aside / part.filename());
  return aside;
}

void archive_black_boxes(const fs::path& run_dir) {
  const fs::path folder = run_dir / "black_box";
  std::vector<fs::path> files;
  std::error_code absent;
  // What is only a part belongs to the host that makes it: moved away behind its back, its name
  // could not be used there for as long as that host remembers it.
  for (const auto& entry : fs::directory_iterator(folder, absent)) {
    if (entry.is_regular_file() && entry.path().extension() != ".part")
      files.push_back(entry.path());
  }
  if (files.empty()) return;
  const std::int64_t number = highest(folder, "older-") + 1;
  const fs::path older = folder / fmt::format("older-{}", number);
  fs::create_directories(older);
  // A listing may show what another host has taken away (law 15): what is gone needs no archive.
  for (const fs::path& file : files) {
    std::error_code error;
    fs::rename(file, older / file.filename(), error);
    if (error && error != std::errc::no_such_file_or_directory)
      throw IoError(
          fmt::format("cannot move {} to {}: {}", file.string(), older.string(), error.message()));
  }
  std::error_code ignored;
  fs::remove_all(folder / fmt::format("older-{}", number - kOlderBlackBoxes), ignored);
}

}  // namespace muster::launcher
