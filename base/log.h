// One process-wide log: console (stderr) and, in a rank, a size-bounded rotating file. INFO by
// default; the last DEBUG lines are kept in memory and written out only on failure (law 17).
#pragma once

#include <fmt/core.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace muster::log {

enum class Level { kDebug, kInfo, kWarn, kError };

enum class Colour { kAuto, kAlways, kNever };  // kAuto: when stderr is a terminal

struct Options {
  Level level = Level::kInfo;
  std::filesystem::path file;         // empty: console only
  std::size_t max_bytes = 64u << 20;  // of the file and its one predecessor, together
  bool console = true;
  Colour colour = Colour::kAuto;  // of the console
  std::string tag;                // e.g. "rank 3/8 node17", in front of every line
};

// Call once, before other threads start; a second call replaces the first.
void init(const Options& options);

// Writes the remembered DEBUG lines to the file. Called by main when a command fails.
void flush_backtrace();

void write(Level level, std::string_view line);  // thread-safe

template <typename... Args>
void debug(fmt::format_string<Args...> f, Args&&... args) {
  write(Level::kDebug, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> f, Args&&... args) {
  write(Level::kInfo, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void warn(fmt::format_string<Args...> f, Args&&... args) {
  write(Level::kWarn, fmt::format(f, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> f, Args&&... args) {
  write(Level::kError, fmt::format(f, std::forward<Args>(args)...));
}

}  // namespace muster::log
