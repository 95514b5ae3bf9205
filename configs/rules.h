// What settings must satisfy together.
#pragma once

#include <string>
#include <vector>

#include "configs/config.h"

namespace muster::configs {

struct Rule {
  std::vector<std::string> keys;  // all the rule reads; it is checked when all of them are valid
  std::string statement;          // "must not exceed data.max_pixels": of the first key
  bool (*kept)(const Config& config);
};

const std::vector<Rule>& rules();   // broken: the config is refused
const std::vector<Rule>& advice();  // broken: legal, but seldom meant; see warnings()

}  // namespace muster::configs
