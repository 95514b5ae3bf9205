// Names of splits: what one tool calls "val" is "valid" to another.
#pragma once

#include <string>
#include <vector>

namespace muster::data {

// The spellings of a split: "val" -> val, valid, validation; others only themselves. The one that
// was asked for comes first.
std::vector<std::string> split_names(const std::string& split);

// The one of `there` that `asked` means; empty when none is.
std::string matching_split(const std::vector<std::string>& there, const std::string& asked);

}  // namespace muster::data
