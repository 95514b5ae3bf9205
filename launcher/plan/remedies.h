// What helps against too little memory: one list, in the order in which it is tried. Its first part
// is the ladder that `launch` steps down when ranks run out of memory (T-005); `plan` advises the
// same changes, in the same order, as far as each one helps.
#pragma once

#include <string>
#include <vector>

#include "configs/config.h"
#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

// What a remedy leaves as it is.
enum class Keeps {
  kBits,         // every number of the run
  kMathematics,  // what a step computes, of as many samples; they meet in other micro-batches and
                 // sums round otherwise
  kNothing       // values are stored with fewer digits, or fewer weights are trained
};

// What remedies change.
struct MemorySetup {
  configs::Config config;
  int ranks = 1;
};

struct MemoryRemedy {
  const char* what;  // for people
  Keeps keeps;
  std::vector<const char*> keys;  // the config's keys that apply() changes; none: it changes ranks
  bool (*applies)(const MemorySetup& setup);
  void (*apply)(MemorySetup& setup);  // REQUIRES applies(setup)
};

// The same remedy may be applied again as long as it applies.
const std::vector<MemoryRemedy>& memory_remedies();

// How many of them, from the first, make the ladder: those before the first that keeps nothing.
std::size_t num_ladder_remedies();

// What apply() has set, as the command line takes it: "model.dtype=bf16" for --set.
std::vector<std::string> settings_of(const MemoryRemedy& remedy, const MemorySetup& setup);

// The same training in smaller portions, rung by rung, each with all rungs above it. Every world
// size that divides G divides 2 G as well, and a step never holds more samples than before: the
// place in the epoch stays within it.
std::vector<Rung> oom_ladder(const configs::Config& config);

}  // namespace muster::launcher
