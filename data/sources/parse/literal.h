// Lists and objects as models and scripts write them into texts: JSON, or Python's repr (single
// quotes, True, None, tuples), trailing commas allowed.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

namespace muster::data {

// The value that begins at `at`, which then stands behind it. Throws DataError "character N: why".
nlohmann::json parse_literal(std::string_view text, std::size_t& at);

}  // namespace muster::data
