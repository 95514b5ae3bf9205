#include "configs/groups.h"

#include <algorithm>

namespace muster::configs {

const GroupEntry* group_of(std::string_view parameter) {
  const auto* found = std::ranges::find_if(
      kGroups, [&](const GroupEntry& group) { return parameter.starts_with(group.prefix); });
  return found == kGroups.end() ? nullptr : found;
}

}  // namespace muster::configs
