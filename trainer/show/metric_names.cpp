#include "trainer/show/metric_names.h"

#include <fmt/core.h>

namespace muster::trainer {

std::string metrics_table() {
  std::string table = "| name | meaning |\n|---|---|\n";
  for (const MetricEntry& entry : kMetrics) {
    table += fmt::format("| `{}{}` | {} |\n", entry.name, entry.member, entry.meaning);
  }
  return table;
}

}  // namespace muster::trainer
