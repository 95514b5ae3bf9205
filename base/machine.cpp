#include "base/machine.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

namespace muster {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

// A cgroup v2 file with one number; "max", or no file, is no limit.
std::int64_t cgroup_number(const char* name) {
  std::ifstream in(fs::path("/sys/fs/cgroup") / name);
  std::int64_t value = 0;
  return in >> value ? value : kNoLimit;
}

int cores() {
  const auto allowed = static_cast<int>(own_cpus().size());
  std::ifstream in("/sys/fs/cgroup/cpu.max");  // "200000 100000": quota and period, microseconds
  double quota = 0, period = 0;
  if (!(in >> quota >> period) || period <= 0) return allowed;
  return std::clamp(static_cast<int>(std::ceil(quota / period)), 1, allowed);
}

std::int64_t available_memory() {
  std::int64_t available = kNoLimit;
  std::ifstream in("/proc/meminfo");
  for (std::string key, unit; in >> key;) {
    std::int64_t kib = 0;
    in >> kib;
    std::getline(in, unit);
    if (key == "MemAvailable:") available = kib * 1024;
  }
  if (const std::int64_t limit = cgroup_number("memory.max"); limit != kNoLimit) {
    const std::int64_t used = cgroup_number("memory.current");
    available = std::min(available, limit - std::min(limit, used));
  }
  return available;
}

int gpus() {
  int found = 0;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator("/dev", absent)) {
    const std::string name = entry.path().filename().string();
    const std::string digits = name.starts_with("nvidia") ? name.substr(6) : "";
    found +=
        !digits.empty() && std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  }
  return found;
}

}  // namespace

std::vector<std::string> cpu_features() {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line) && !line.starts_with("flags")) {
  }
  line += ' ';
  std::vector<std::string> found;
  for (const char* name :
       {"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"})
    if (line.find(fmt::format(" {} ", name)) != std::string::npos) found.emplace_back(name);
  return found;
}

bool has_bf16_products() { return std::ranges::count(cpu_features(), "avx512f") > 0; }

std::vector<int> own_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

Machine this_machine() { return {cores(), available_memory(), gpus()}; }

}  // namespace muster
