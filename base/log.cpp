#include "base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <vector>

namespace muster::log {
namespace {

constexpr std::size_t kBacktraceLines = 2000;

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::shared_ptr<spdlog::logger> make(const Options& options) {
  std::vector<spdlog::sink_ptr> sinks;
  if (options.console) sinks.push_back(std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  if (!options.file.empty()) {
    std::filesystem::create_directories(options.file.parent_path());
    constexpr std::size_t kPredecessors = 1;
    sinks.push_back(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
        options.file.string(), std::max<std::size_t>(options.max_bytes / 2, 4096), kPredecessors));
  }
  auto logger = std::make_shared<spdlog::logger>("muster", sinks.begin(), sinks.end());
  logger->set_level(to_spdlog(options.level));
  logger->flush_on(spdlog::level::info);
  logger->enable_backtrace(kBacktraceLines);
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
void flush_backtrace() { logger()->dump_backtrace(); }
void write(Level level, std::string_view line) {
  logger()->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace muster::log
