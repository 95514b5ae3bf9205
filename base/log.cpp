#include "base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace muster::log {
namespace {

// The newest DEBUG lines that the level keeps out of the log, for the moment something fails.
class Remembered {
 public:
  void add(std::string_view line) {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(line);
    if (lines_.size() > kLines) lines_.pop_front();
  }
  std::deque<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  static constexpr std::size_t kLines = 2000;
  std::mutex mutex_;
  std::deque<std::string> lines_;
};

Remembered& remembered() {
  static Remembered instance;
  return instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

spdlog::color_mode to_spdlog(Colour colour) {
  if (colour == Colour::kAuto) return spdlog::color_mode::automatic;
  return colour == Colour::kAlways ? spdlog::color_mode::always : spdlog::color_mode::never;
}

std::shared_ptr<spdlog::logger> make(const Options& options) {
  std::vector<spdlog::sink_ptr> sinks;
  if (options.console)
    sinks.push_back(
        std::make_shared<spdlog::sinks::stderr_color_sink_mt>(to_spdlog(options.colour)));
  if (!options.file.empty()) {
    std::filesystem::create_directories(options.file.parent_path());
    constexpr std::size_t kPredecessors = 1;
    sinks.push_back(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
        options.file.string(), std::max<std::size_t>(options.max_bytes / 2, 4096), kPredecessors));
  }
  auto logger = std::make_shared<spdlog::logger>("muster", sinks.begin(), sinks.end());
  logger->set_level(to_spdlog(options.level));
  logger->flush_on(spdlog::level::info);
  const std::string tag = options.tag.empty() ? "" : "[" + options.tag + "] ";
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%L%$ " + tag + "%v");
  return logger;
}

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance = make(Options{});
  return instance;
}

}  // namespace

void init(const Options& options) { logger() = make(options); }

// The lines go to the file alone: the console shows what went wrong, not the 2000 lines before it.
void flush_backtrace() {
  const std::deque<std::string> lines = remembered().take();
  if (lines.empty()) return;
  for (const spdlog::sink_ptr& sink : logger()->sinks()) {
    if (dynamic_cast<spdlog::sinks::rotating_file_sink_mt*>(sink.get()) == nullptr) continue;
    for (const std::string& line : lines) sink->log({"muster", spdlog::level::debug, line});
    sink->flush();
  }
}

void write(Level level, std::string_view line) {
  if (level == Level::kDebug && logger()->level() > spdlog::level::debug) {
    remembered().add(line);
    return;
  }
  logger()->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace muster::log
