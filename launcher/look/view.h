// What `muster look` shows: facts and samples as JSON for programs, a page for people. Either is
// made when it is asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/show/gallery/gallery.h"

namespace muster::launcher {

struct LookOptions {
  std::int64_t first = -1;           // samples from the start; -1: as many as suit what is shown
  std::vector<std::string> samples;  // these alone, by place or name; empty: see `first`
  bool duplicates = true;            // search for pictures that look alike, which decodes all
};

struct View {
  nlohmann::ordered_json facts;                                // of the whole, without the samples
  std::int64_t num_samples = 0;                                // in the JSON
  std::function<nlohmann::ordered_json(std::int64_t)> sample;  // of 0..num_samples-1
  std::function<trainer::Gallery()> page;
};

}  // namespace muster::launcher
