#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

std::vector<std::string> rung_overrides(const Restart& restart) {
  if (restart.rung == 0) return {};
  return restart.ladder.at(static_cast<std::size_t>(restart.rung - 1)).overrides;
}

bool reorders_data(const Restart& restart) {
  return restart.rung > 0 &&
         restart.ladder.at(static_cast<std::size_t>(restart.rung - 1)).reorders_data;
}

}  // namespace muster::launcher
