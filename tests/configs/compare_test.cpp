// A checkpoint's config and today's, field by field.
#include "configs/compare.h"

#include <catch2/catch_test_macros.hpp>
#include <map>

#include "base/error.h"
#include "configs/config.h"
#include "configs/fields.h"
#include "support/test_paths.h"

namespace muster::configs {
namespace {

Config demo(const std::vector<std::string>& overrides = {}) {
  return load(muster::test::source_dir() / "configs/demo.yaml", overrides);
}

TEST_CASE("compare: a config does not differ from itself, written out", "[unit]") {
  const Comparison same = compare(to_yaml(demo()), demo());
  CHECK(same.changes.empty());
  CHECK(same.unknown.empty());
}

TEST_CASE("compare: a changed value is named with both, and what it means", "[unit]") {
  const Config before = demo({"batch.max_samples=4", "model.dtype=fp32"});
  const Config now = demo({"batch.max_samples=8", "model.dtype=bf16", "launch.max_restarts=9"});
  const Comparison found = compare(to_yaml(before), now);
  std::map<std::string, std::string> seen;
  for (const Change& change : found.changes)
    seen[change.field->name] =
        change.from + " -> " + change.to + " " + std::string(name_of(change.field->resume));
  CHECK(seen.at("model.dtype") == "fp32 -> bf16 never");
  CHECK(seen.at("batch.max_samples") == "4 -> 8 epoch");
  CHECK(seen.at("launch.max_restarts").ends_with("-> 9 free"));
  CHECK(seen.size() == 3);
}

TEST_CASE("compare: the value before can be put back", "[unit]") {
  const Config before = demo({"batch.max_samples=4"});
  Config now = demo({"batch.max_samples=8"});
  for (const Change& change : compare(to_yaml(before), now).changes)
    change.field->set(now, change.before);
  CHECK(to_yaml(now) == to_yaml(before));
}

TEST_CASE("compare: what an older program did not write is unknown, not changed", "[unit]") {
  const Comparison found = compare("run:\n  seed: 7\nbatch: 3\n", demo({"run.seed=7"}));
  CHECK(found.changes.empty());
  CHECK(found.unknown.size() == fields().size() - 1);
  CHECK(compare("", demo()).unknown.size() == fields().size());
  CHECK(compare("run:\n  seed: many\n", demo()).unknown.size() == fields().size());
  CHECK_THROWS_AS(compare("{", demo()), ConfigError);
}

}  // namespace
}  // namespace muster::configs
