#include "configs/fields.h"

#include <algorithm>

#include "configs/field_builder.h"

namespace muster::configs {
namespace {

std::vector<Field> assemble() {
  std::vector<Field> all = model_and_data_fields();
  for (const auto& part : {training_fields(), operation_fields()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

const std::vector<Field>& fields() {
  static const std::vector<Field> all = assemble();
  return all;
}

const Field* find_field(std::string_view name) {
  const auto found = std::ranges::find(fields(), name, &Field::name);
  return found == fields().end() ? nullptr : &*found;
}

bool is_section(std::string_view prefix) { return !keys_under(prefix).empty(); }

Strings keys_under(std::string_view prefix) {
  const std::string start = prefix.empty() ? "" : std::string(prefix) + ".";
  Strings keys;
  for (const Field& field : fields()) {
    if (!field.name.starts_with(start)) continue;
    const std::size_t end = field.name.find('.', start.size());
    const std::string key = field.name.substr(start.size(), end - start.size());
    if (keys.empty() || keys.back() != key) keys.push_back(key);
  }
  return keys;
}

}  // namespace muster::configs
