// What the tests of whole runs compare.
#pragma once

#include <filesystem>
#include <vector>

#include "trainer/show/metrics.h"

namespace muster::test {

// The loss of each step in a metrics.jsonl, without the lines of evaluations; none when there is no
// such file.
inline std::vector<double> step_losses(const std::filesystem::path& metrics) {
  std::vector<double> losses;
  if (!std::filesystem::exists(metrics)) return losses;
  for (const auto& row : trainer::read_metrics(metrics)) {
    if (const auto loss = row.find("loss"); loss != row.end()) losses.push_back(loss->second);
  }
  return losses;
}

}  // namespace muster::test
