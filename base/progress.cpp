#include "base/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/text.h"

namespace muster {
namespace {

using Seconds = std::chrono::duration<double>;
constexpr Seconds kQuiet{2.0};
constexpr Seconds kRedraw{0.2};
constexpr Seconds kLine{10.0};

}  // namespace

Progress::Progress(std::string what, std::int64_t total)
    : what_(std::move(what)), total_(total), terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (shown_) draw(true);
}

void Progress::add(std::int64_t n) {
  done_ += n;
  const auto now = Clock::now();
  if (now - start_ < kQuiet || now - drawn_ < (terminal_ ? kRedraw : kLine)) return;
  drawn_ = now;
  draw(false);
}

void Progress::draw(bool last) {
  const double seconds = Seconds(Clock::now() - start_).count();
  const double rate = static_cast<double>(done_) / std::max(seconds, 1e-9);
  std::string line = fmt::format("{} {}", what_, done_);
  if (total_ > 0)
    line += fmt::format("/{} ({:.0f} %)", total_,
                        100.0 * static_cast<double>(done_) / static_cast<double>(total_));
  line += fmt::format("  {:.1f}/s", rate);
  if (last)
    line += "  in " + human_seconds(seconds);
  else if (total_ > 0 && done_ > 0)
    line += "  ETA " + human_seconds(static_cast<double>(total_ - done_) / rate);
  const bool redrawn = terminal_ && !last;
  const char* before = terminal_ ? "\r\033[K" : "";
  fmt::print(stderr, "{}{}{}", before, line, redrawn ? "" : "\n");
  std::fflush(stderr);
  shown_ = true;
}

}  // namespace muster
