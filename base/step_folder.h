// The names of a run's checkpoint folders, for who writes them and for who only looks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

// Behind the name of a checkpoint that was found damaged and set aside.
inline constexpr std::string_view kDamagedSuffix = ".damaged";

std::string step_folder_name(std::int64_t step);  // "step-000123"; longer above 999,999
// The step of such a name; nothing for any other name ("step-000123.tmp", "step-12x").
std::optional<std::int64_t> step_of_name(std::string_view name);

}  // namespace muster
