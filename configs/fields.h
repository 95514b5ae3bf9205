// The one table of settings. The loader, to_yaml, describe_fields and the tests walk it; nothing
// else knows a key by name.
#pragma once

#include <string_view>
#include <vector>

#include "configs/field.h"

namespace muster::configs {

// The rows are in the order of the structs in config.h.
const std::vector<Field>& fields();
const Field* find_field(std::string_view name);  // nullptr when there is none

// True when `prefix` is a section: some field is named "prefix.<more>".
bool is_section(std::string_view prefix);
// The keys directly under a section, in order; "" gives the top level.
Strings keys_under(std::string_view prefix);

}  // namespace muster::configs
