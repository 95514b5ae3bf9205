#include "trainer/assembly/groups.h"

#include <catch2/catch_test_macros.hpp>

#include "configs/groups.h"

namespace muster::trainer {
namespace {

TEST_CASE("rules and rates stand in the order of the table", "[unit]") {
  configs::Config config{};
  config.detection.enabled = true;
  config.groups.merger.lr = 1;
  config.groups.lm_head.lr = 5;
  config.groups.lm_head.weight_decay = 0.5;
  const auto rules = group_rules(config);
  REQUIRE(rules.size() == configs::kGroups.size());
  for (std::size_t g = 0; g < rules.size(); ++g) CHECK(rules[g].name == configs::kGroups[g].name);
  CHECK(group_lrs(config.groups) == std::vector<double>{1, 0, 0, 0, 5});
  CHECK(rules[configs::index_of(configs::GroupId::kLmHead)].weight_decay == 0.5);
}

TEST_CASE("a group without a rate is frozen, and so is a head that does not run", "[unit]") {
  configs::Config config{};
  config.groups.merger.lr = 1;
  config.groups.detection_head.lr = 1;
  const auto frozen = [&](configs::GroupId id) {
    return group_rules(config)[configs::index_of(id)].frozen;
  };
  config.detection.enabled = true;
  CHECK_FALSE(frozen(configs::GroupId::kMerger));
  CHECK(frozen(configs::GroupId::kVisual));
  CHECK_FALSE(frozen(configs::GroupId::kDetectionHead));
  config.detection.enabled = false;
  CHECK(frozen(configs::GroupId::kDetectionHead));
}

}  // namespace
}  // namespace muster::trainer
