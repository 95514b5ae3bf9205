#include "launcher/triage/kernel_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <set>

namespace muster::launcher {
namespace {

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// Whether `text` holds the number `pid` on its own.
bool names_pid(const std::string& text, const std::string& pid) {
  for (std::size_t at = text.find(pid); at != std::string::npos; at = text.find(pid, at + 1)) {
    const auto digit = [&](std::size_t i) {
      return i < text.size() && text[i] >= '0' && text[i] <= '9';
    };
    if (!(at > 0 && digit(at - 1)) && !digit(at + pid.size())) return true;
  }
  return false;
}

}  // namespace

std::vector<Record> read_kernel_log(const std::vector<Record>& records) {
  std::set<std::string> pids;
  double begin = kNoTime;
  for (const Record& r : records) {
    if (r.source != Source::kStatus) continue;
    if (const auto pid = r.fields.find("pid"); pid != r.fields.end()) pids.insert(pid->second);
    if (const auto start = r.fields.find("start_unix"); start != r.fields.end())
      begin = std::min(begin, std::atof(start->second.c_str()));
  }
  std::vector<Record> lines;
  const int descriptor = pids.empty() ? -1 : ::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return lines;
  const double boot = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC);
  std::array<char, 8192> buffer{};
  for (;;) {  // one message per read: "priority,sequence,microseconds,flags;text\n"
    const ssize_t size = ::read(descriptor, buffer.data(), buffer.size() - 1);
    if (size < 0 && errno == EPIPE) continue;  // overwritten while we read; the next read goes on
    if (size <= 0) break;
    const std::string message(buffer.data(), static_cast<std::size_t>(size));
    double microseconds = 0;
    if (std::sscanf(message.c_str(), "%*d,%*d,%lf", &microseconds) != 1) continue;
    const std::size_t semicolon = std::min(message.find(';'), message.size() - 1);
    const std::string text =
        message.substr(semicolon + 1, message.find('\n', semicolon) - semicolon - 1);
    const double time = boot + microseconds * 1e-6;
    const bool ours =
        std::ranges::any_of(pids, [&](const std::string& pid) { return names_pid(text, pid); });
    if (time >= begin - 1 && (ours || text.find("NVRM: Xid") != std::string::npos))
      lines.push_back({Source::kKernel, -1, "kernel log", 0, time, text, {}});
  }
  ::close(descriptor);
  return lines;
}

}  // namespace muster::launcher
