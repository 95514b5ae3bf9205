// What to change when a plan does not fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/plan/plan.h"

namespace muster::launcher {

// One remedy, and what one rank holds with it and all before it.
struct PlannedChange {
  std::vector<std::string> settings;  // for --set; empty: more ranks
  int ranks = 0;                      // with it
  std::string why;
  bool on_ladder = false;  // `launch` would make it by itself, in this order
  std::int64_t total_after = 0;
  std::int64_t host_after = 0;  // beside a GPU, on its host
  bool fits = false;            // with it

  std::string arguments()
      const;  // "model.dtype=bf16 --set sharding.wire_dtype=bf16" or "--ranks 8"
};

struct Advice {
  std::vector<PlannedChange> changes;
  bool fits = false;                 // with all of them
  std::vector<PlannedChange> alone;  // each made alone, as often as it helps
};

// What to change until it fits: the first rungs of the memory ladder, as far as they help, then
// what costs precision, then more machines, then what is no longer trained. Each change was planned
// again. Nothing for a plan that fits.
Advice advise(const configs::Config& config, const model::QwenConfig& model, const RunPlan& plan);
std::string format_advice(const Advice& advice, const RunPlan& plan);

}  // namespace muster::launcher
