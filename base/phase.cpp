#include "base/phase.h"

#include <array>
#include <cstddef>

namespace muster {

std::string_view phase_name(Phase phase) {
  constexpr std::array<std::string_view, 13> kNames{
      "start",     "load",   "data",       "forward",  "backward", "reduce", "consensus",
      "optimizer", "gather", "checkpoint", "evaluate", "idle",     "done"};
  const auto index = static_cast<std::size_t>(phase);
  return index < kNames.size() ? kNames[index] : "unknown";
}

}  // namespace muster
