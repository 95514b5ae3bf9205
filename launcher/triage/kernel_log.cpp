#include "launcher/triage/kernel_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <optional>
#include <set>
#include <string>

namespace muster::launcher {
namespace {

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// Whether `text` holds the number `pid` on its own.
bool names_pid(const std::string& text, const std::string& pid) {
  const auto digit = [&](std::size_t i) {
    return i < text.size() && text[i] >= '0' && text[i] <= '9';
  };
  for (std::size_t at = text.find(pid); at != std::string::npos; at = text.find(pid, at + 1)) {
    const bool inside_another = (at > 0 && digit(at - 1)) || digit(at + pid.size());
    if (!inside_another) return true;
  }
  return false;
}

std::set<std::string> pids_of(const std::vector<Record>& records) {
  std::set<std::string> pids;
  for (const Record& r : records)
    if (const std::string pid = r.field("pid"); r.source == Source::kStatus && !pid.empty())
      pids.insert(pid);
  return pids;
}

struct Message {
  double since_boot = 0;  // seconds
  std::string text;
};

// "priority,sequence,microseconds,flags;text\n" and lines about it. Nothing when it is damaged.
std::optional<Message> parse_message(const std::string& line) {
  double microseconds = 0;
  if (std::sscanf(line.c_str(), "%*d,%*d,%lf", &microseconds) != 1) return std::nullopt;
  const std::size_t semicolon = std::min(line.find(';'), line.size() - 1);
  return Message{microseconds * 1e-6,
                 line.substr(semicolon + 1, line.find('\n', semicolon) - semicolon - 1)};
}

// Calls `take` for each message. Each read() gives one.
template <typename Take>
void for_each_message(int kmsg, Take take) {
  std::array<char, 8192> buffer{};
  for (;;) {
    const ssize_t size = ::read(kmsg, buffer.data(), buffer.size() - 1);
    if (size < 0 && errno == EPIPE) continue;  // overwritten while we read; the next read goes on
    if (size <= 0) return;
    const std::string line(buffer.data(), static_cast<std::size_t>(size));
    if (const auto message = parse_message(line)) take(*message);
  }
}

}  // namespace

std::vector<Record> read_kernel_log(const std::vector<Record>& records) {
  const std::set<std::string> pids = pids_of(records);
  const double begin = newest_start(records);
  const double boot = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC);
  std::vector<Record> lines;
  const int kmsg = pids.empty() ? -1 : ::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (kmsg < 0) return lines;
  for_each_message(kmsg, [&](const Message& message) {
    const double time = boot + message.since_boot;
    const bool ours = std::ranges::any_of(
        pids, [&](const std::string& pid) { return names_pid(message.text, pid); });
    const bool gpu = message.text.find("NVRM: Xid") != std::string::npos;
    if (time >= begin - 1 && (ours || gpu))
      lines.push_back({Source::kKernel, -1, "kernel log", 0, time, message.text, {}});
  });
  ::close(kmsg);
  return lines;
}

}  // namespace muster::launcher
