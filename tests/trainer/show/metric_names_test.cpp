#include "trainer/show/metric_names.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "support/test_paths.h"
#include "trainer/show/metrics.h"

namespace muster::trainer {
namespace {

const std::string kBegin = "<!-- the table of trainer/show/metric_names.h -->\n",
                  kEnd = "<!-- end of the table -->\n";

// docs/metrics.md with the table as it is now.
std::string refreshed(const std::string& page) {
  const std::size_t begin = page.find(kBegin);
  const std::size_t end = page.find(kEnd);
  REQUIRE(begin < end);
  REQUIRE(end != std::string::npos);
  return page.substr(0, begin + kBegin.size()) + "\n" + metrics_table() + "\n" + page.substr(end);
}

TEST_CASE("docs/metrics.md has the table as it is now", "[unit]") {
  const fs::path manual = test::source_dir() / "docs" / "metrics.md";
  const std::string page = read_text(manual);
  if (std::getenv("MUSTER_UPDATE_DOCS") != nullptr) write_text(manual, refreshed(page));
  INFO("stale: run MUSTER_UPDATE_DOCS=1 build/test_trainer");
  CHECK((read_text(manual) == refreshed(page)));
}

TEST_CASE("the table has every name once, families with what follows", "[unit]") {
  const std::string table = metrics_table();
  for (const MetricEntry& entry : kMetrics) {
    const std::string row = "| `" + std::string(entry.name) + std::string(entry.member) + "` |";
    INFO(row);
    CHECK(table.find(row) != std::string::npos);
    CHECK(table.find(row) == table.rfind(row));
    CHECK(entry.name.ends_with('.') == !entry.member.empty());
  }
}

TEST_CASE("the table names every phase and every metric of an evaluation", "[unit]") {
  const std::string table = metrics_table();
  const auto names = [&](std::string_view member) {
    INFO(member);
    CHECK(table.find("`" + std::string(member) + "`") != std::string::npos);
  };
  for (const std::string_view phase : metric::kPhases) names(phase);
  for (const std::string_view metric : metric::kCoco) names(metric);
  names(metric::name(metric::kEval, metric::kClassAgnosticAp50));
}

}  // namespace
}  // namespace muster::trainer
