// Which classes of a source are kept, and under which names.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/sources/source.h"

namespace muster::data {

// `rename` is of pairs old name, new name; two classes of one name become one, with the id of the
// class that has the name already, else of the first. Captions that are the old name follow.
// Throws UsageError for a name that the source does not have.
void rename_classes(Source& source, const std::vector<std::pair<std::string, std::string>>& rename);

// Keeps the classes of these names alone. Returns how many boxes of each other class went, in the
// order of the table. Throws UsageError for a name that the source does not have.
std::vector<std::pair<std::string, std::int64_t>> keep_classes(
    Source& source, const std::vector<std::string>& names);

}  // namespace muster::data
