// Small helpers for messages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

// The candidate with the least edit distance to `name`, or "" when none is near (distance > a third
// of its length).
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

std::string join(std::span<const std::string> parts, std::string_view separator);
std::vector<std::string> split(std::string_view text, char separator);  // "a,,b" gives three parts

std::string human_bytes(std::int64_t bytes);  // "1.5 GiB"
std::string human_seconds(double seconds);    // "1h 02m", "3m 07s", "12.3 s"

// C++ source in which adjacent string literals are one, so that a text can be found in it wherever
// the formatter broke its lines.
std::string join_literals(std::string_view source);

}  // namespace muster
