#include "launcher/rank/mpi_segments.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/files.h"

namespace muster::launcher {
namespace {

// The whole text as a number.
std::optional<std::uint32_t> number_of(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Open MPI's hash of a name: Jenkins' one-at-a-time, both halves laid over each other.
std::uint32_t family_of(std::string_view name) {
  std::uint32_t hash = 0;
  for (const char c : name) {
    hash += static_cast<std::uint32_t>(c);
    hash += hash << 10;
    hash ^= hash >> 6;
  }
  hash += hash << 3;
  hash ^= hash >> 11;
  hash += hash << 15;
  return (hash >> 16) ^ (hash & 0xffffu);
}

// Open MPI 4 leaves the domain out of a host's name unless it is told to keep it.
std::vector<std::string> names_of(const std::string& host) {
  const std::size_t dot = host.find('.');
  if (dot == std::string::npos) return {host};
  return {host, host.substr(0, dot)};
}

std::vector<std::string> name_starts(const SegmentOwner& owner) {
  std::vector<std::string> starts;
  for (const char* kind : {"vader_segment", "sm_segment"})
    for (const std::string& host : names_of(owner.host))
      starts.push_back(fmt::format("{}.{}.{}.{}.", kind, host, ::geteuid(), owner.job));
  return starts;
}

bool belongs(std::string_view name, const std::vector<std::string>& starts,
             const std::optional<int>& local_rank) {
  return std::ranges::any_of(starts, [&](const std::string& start) {
    if (!name.starts_with(start)) return false;
    const auto rank = number_of(name.substr(start.size()));
    return rank && (!local_rank || *rank == static_cast<std::uint32_t>(*local_rank));
  });
}

}  // namespace

// Version 4 calls the job by its number; 5 by a name, prterun-HOST-PID@NUMBER, of which its library
// makes one.
std::string mpi_job(const GetEnv& env) {
  const char* given = env("PMIX_NAMESPACE");
  if (env("OMPI_COMM_WORLD_SIZE") == nullptr || given == nullptr) return "";
  const std::string_view name = given;
  if (const auto number = number_of(name)) return fmt::format("{:x}", *number);
  const std::size_t at = name.rfind('@');
  if (at == std::string_view::npos) return "";
  const auto number = number_of(name.substr(at + 1));
  if (!number) return "";
  return fmt::format("{:x}", (family_of(name.substr(0, at)) << 16) | (*number & 0xffffu));
}

std::string mpi_job() {
  return mpi_job([](const char* name) { return static_cast<const char*>(std::getenv(name)); });
}

int remove_segments(const fs::path& folder, const SegmentOwner& owner) {
  if (owner.job.empty()) return 0;
  const std::vector<std::string> starts = name_starts(owner);
  std::vector<fs::path> theirs;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    std::error_code unknown;
    if (fs::is_regular_file(it->symlink_status(unknown)) &&
        belongs(it->path().filename().string(), starts, owner.local_rank))
      theirs.push_back(it->path());
  }
  int removed = 0;
  for (const fs::path& file : theirs) removed += fs::remove(file, error) ? 1 : 0;
  return removed;
}

}  // namespace muster::launcher
