// Large JSON files, read element by element.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace muster::data {

// One entry of a document: an element of the top-level array (`key` empty), an element of an array
// that is a member of the top-level object, or (`index` -1) another member of it. The end of a
// member that is an array is told as an empty array with index -1.
using JsonEntry =
    std::function<void(const std::string& key, std::int64_t index, nlohmann::json&& value)>;

// Calls `entry` for each, in the document's order; one of them is in memory at a time. Throws
// JsonError for what is no JSON, DataError for a document that is no list or object; what was
// called before stays called.
void for_each_json_entry(std::string_view text, const JsonEntry& entry);

}  // namespace muster::data
