#include "configs/groups.h"

#include <catch2/catch_test_macros.hpp>

#include "configs/fields.h"

namespace muster::configs {
namespace {

TEST_CASE("a parameter belongs to the first group whose prefix it has", "[unit]") {
  const auto name = [](std::string_view parameter) {
    const GroupEntry* entry = group_of(parameter);
    return entry == nullptr ? "" : entry->name;
  };
  CHECK(name("visual.merger.mlp.0.weight") == "merger");
  CHECK(name("visual.blocks.0.attn.qkv.weight") == "visual");
  CHECK(name("detection_head.queries") == "detection_head");
  CHECK(name("model.norm.weight") == "model");
  CHECK(name("lm_head.weight") == "lm_head");
  CHECK(name("adapter.weight").empty());
  CHECK(name("modelled.weight").empty());
}

TEST_CASE("the config has a section for every group of the table", "[unit]") {
  for (const GroupEntry& entry : kGroups) {
    INFO(entry.name);
    CHECK(find_field("groups." + std::string(entry.name) + ".lr") != nullptr);
  }
  CHECK(keys_under("groups").size() == kGroups.size() + 1);  // and groups.freeze
}

TEST_CASE("a group's member is the section of its name", "[unit]") {
  Config config{};
  config.groups.lm_head.lr = 0.25;
  CHECK((config.groups.*kGroups[index_of(GroupId::kLmHead)].member).lr == 0.25);
  const Field* field = find_field("groups.lm_head.lr");
  REQUIRE(field != nullptr);
  CHECK(std::get<double>(field->get(config)) == 0.25);
}

}  // namespace
}  // namespace muster::configs
