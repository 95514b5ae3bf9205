// Comma-separated values as RFC 4180 has them: quotes around fields, doubled inside, line ends of
// either kind, also within quotes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

struct CsvRecord {
  std::vector<std::string> fields;
  std::int64_t line = 0;  // where it begins, from 1
};

// Calls `record` for each, in order; blank lines are passed over. Throws DataError "line N: why"
// for quotes that are not closed or stand within a field; what was called before stays called.
void for_each_csv_record(std::string_view text,
                         const std::function<void(const CsvRecord&)>& record);

}  // namespace muster::data
