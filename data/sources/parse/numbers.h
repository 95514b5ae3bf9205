// Numbers as texts and JSON from outside hold them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace muster::data {

// The whole text as a number, or nothing.
std::optional<double> parse_number(std::string_view text);

// A number, or a text that is one ("12"); nothing for anything else.
std::optional<double> loose_number(const nlohmann::json& value);

// What exporters take for true and false: 0, 1, true, "1", null (which is false).
bool loose_flag(const nlohmann::json& value);

// An id, whichever way it is written: 7, 7.0 and "7" are "7"; "0001_d" is itself. Nothing for what
// can be no id.
std::optional<std::string> loose_id(const nlohmann::json& value);

// A text, or a number as text; nothing for anything else.
std::optional<std::string> loose_text(const nlohmann::json& value);

// The id as an integer, where it is written as one.
std::optional<std::int64_t> integer_id(const std::string& id);

}  // namespace muster::data
