// Two configs, field by field: the one that a checkpoint was written with, and today's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "configs/field.h"

namespace muster::configs {

struct Change {
  const Field* field;
  Value before, now;
  std::string from, to;  // as people write them
};

struct Comparison {
  std::vector<Change> changes;  // in the table's order
  // Fields that the earlier config does not say, as one of an older program, or whose value there
  // today's table does not allow: nothing is known of them.
  std::vector<std::string> unknown;
};

// `before`: what to_yaml() wrote, by this program or another version of it. Throws ConfigError
// when it is no YAML.
Comparison compare(std::string_view before, const Config& now);

}  // namespace muster::configs
