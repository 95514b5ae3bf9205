#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

std::vector<std::string> rung_overrides(const Restart& restart) {
  if (restart.rung == 0) return {};
  return restart.ladder.at(static_cast<std::size_t>(restart.rung - 1)).overrides;
}

}  // namespace muster::launcher
