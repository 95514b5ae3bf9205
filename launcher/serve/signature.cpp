#include "launcher/serve/signature.h"

#include <fmt/core.h>

#include <system_error>

#include "base/files.h"

namespace muster::launcher {

std::string signature_of(const fs::path& run, std::span<const char* const> parts) {
  std::string text;
  for (const char* part : parts) {
    std::error_code error;
    const auto time = fs::last_write_time(run / part, error);
    text += fmt::format("{} ", error ? 0 : time.time_since_epoch().count());
    const auto bytes = fs::file_size(run / part, error);
    text += fmt::format("{} ", error ? 0 : bytes);
  }
  return text;
}

}  // namespace muster::launcher
