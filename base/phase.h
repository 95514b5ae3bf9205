// What a rank is doing: one word of a step, in the order in which a step passes them.
#pragma once

#include <cstdint>
#include <string_view>

namespace muster {

enum class Phase : std::uint8_t {
  kStart,
  kLoad,
  kData,
  kForward,
  kBackward,
  kReduce,
  kConsensus,
  kOptimizer,
  kGather,
  kCheckpoint,
  kEvaluate,
  kIdle,
  kDone
};
std::string_view phase_name(Phase phase);

}  // namespace muster
