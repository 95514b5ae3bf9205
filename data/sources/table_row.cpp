#include "data/sources/table_row.h"

#include <fmt/core.h>

#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/literal.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

nlohmann::json value_of(const std::string& column, const std::string& field) {
  const std::string_view text = trimmed(field);
  if (text.starts_with('[') || text.starts_with('{')) {
    std::size_t at = 0;
    try {
      nlohmann::json value = parse_literal(text, at);
      if (at == text.size()) return value;
    } catch (const DataError& error) {
      throw DataError(fmt::format("column '{}': {}", column, error.what()));
    }
    throw DataError(fmt::format("column '{}': character {}: text behind the value", column, at));
  }
  const bool side = column == "width" || column == "height";
  if (const auto number = parse_number(text); side && number) return *number;
  return field;
}

}  // namespace

nlohmann::json table_row(const std::vector<std::string>& columns, const CsvRecord& record) {
  if (record.fields.size() != columns.size())
    throw DataError(fmt::format("{} fields, and the first line names {} columns",
                                record.fields.size(), columns.size()));
  nlohmann::json row = nlohmann::json::object();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string& field = record.fields[i];
    if (first_not_utf8(field) != std::string::npos)
      throw DataError("text that is not UTF-8: convert the file (D-015)");
    if (!field.empty()) row[columns[i]] = value_of(columns[i], field);
  }
  return row;
}

}  // namespace muster::data
