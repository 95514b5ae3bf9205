// Rules that tie settings together.
#pragma once

#include <string>
#include <vector>

#include "configs/config.h"

namespace muster::configs {

struct Rule {
  std::vector<std::string> keys;  // those it reads; it is checked when all of them are valid
  std::string statement;          // "must not exceed data.max_pixels": of the first key
  bool (*kept)(const Config& config);
};

// A config that breaks one of these is refused.
const std::vector<Rule>& rules();
// A config that breaks one of these is legal, but seldom meant; see warnings().
const std::vector<Rule>& advice();

}  // namespace muster::configs
