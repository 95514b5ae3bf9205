#include "base/step_folder.h"

#include <fmt/core.h>

#include <charconv>

namespace muster {
namespace {

constexpr std::string_view kPrefix = "step-";

}  // namespace

std::string step_folder_name(std::int64_t step) { return fmt::format("{}{:06d}", kPrefix, step); }

std::optional<std::int64_t> step_of_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  std::int64_t step = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  // As this program writes it, so that no two names are of one step.
  if (error != std::errc() || step < 0 || step_folder_name(step) != name) return std::nullopt;
  return step;
}

}  // namespace muster
