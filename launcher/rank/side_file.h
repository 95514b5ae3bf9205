// Files that other processes left in a run folder, as JSON objects whose bytes decide nothing
// unchecked (law 16): a field that is absent, of another type or beyond its range gives
// `otherwise`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace muster::launcher {

// An object, else null: for a file that is absent, cannot be read, is over 16 MiB or holds anything
// else. A reader must not fail on what a dying machine left.
nlohmann::json read_side_file(const std::filesystem::path& file);
nlohmann::json parse_side_file(std::string_view text);

std::int64_t whole_number(const nlohmann::json& object, const char* key, std::int64_t otherwise,
                          std::int64_t least, std::int64_t most);
double finite_number(const nlohmann::json& object, const char* key, double otherwise);
bool flag(const nlohmann::json& object, const char* key);  // false otherwise
std::string short_text(const nlohmann::json& object,
                       const char* key);  // at most 4 KiB; "" otherwise
// An array; an empty one otherwise.
const nlohmann::json& list(const nlohmann::json& object, const char* key);

}  // namespace muster::launcher
