// A record of Hugging Face's metadata.csv as the row that metadata.jsonl would have for it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/sources/parse/csv.h"

namespace muster::data {

// Fields that hold JSON, or Python's repr of it, are what they hold; an empty field is not there.
// Throws DataError, without a place, for a record that is no row.
nlohmann::json table_row(const std::vector<std::string>& columns, const CsvRecord& record);

}  // namespace muster::data
