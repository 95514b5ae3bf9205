// When the language model runs: asked by the plan, the balance of micro-batches and the MFU.
#pragma once

#include "configs/config.h"

namespace muster::configs {

// For every sample; else only for those with an answer to learn: a head that attends to the vision
// tower alone does not need it.
inline bool language_always_runs(const Detection& head) {
  return !head.enabled || has_language(head.memory);
}

}  // namespace muster::configs
