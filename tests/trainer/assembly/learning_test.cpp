// What freezes, at which rate what learns, and the configs that are refused.
#include "trainer/assembly/learning.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"

namespace muster::trainer {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

const std::vector<std::string> kNames = {"visual.patch_embed.proj.weight",
                                         "visual.blocks.0.attn.qkv.weight",
                                         "visual.blocks.1.attn.qkv.weight",
                                         "visual.blocks.2.attn.qkv.weight",
                                         "visual.merger.mlp.0.weight",
                                         "model.embed_tokens.weight",
                                         "model.layers.0.mlp.up.weight",
                                         "model.layers.1.mlp.up.weight",
                                         "model.norm.weight",
                                         "detection_head.query.weight",
                                         "detection_head.layers.0.norm.weight",
                                         "detection_head.box.weight"};

configs::Config all_learn() {
  configs::Config config{};
  config.detection.enabled = true;
  config.lora.lora_plus_ratio = 1;
  for (const configs::GroupEntry& entry : configs::kGroups) {
    (config.groups.*entry.member).lr = 1;
    (config.groups.*entry.member).layer_decay = 1;
  }
  return config;
}

TEST_CASE("layer_decay: the last layer learns at the rate, each before it at less", "[unit]") {
  configs::Config config = all_learn();
  config.groups.visual.layer_decay = 0.5;
  const Learning learning(config, kNames);
  CHECK(learning.lr_factor("visual.blocks.2.attn.qkv.weight") == 1);
  CHECK(learning.lr_factor("visual.blocks.1.attn.qkv.weight") == Approx(0.5));
  CHECK(learning.lr_factor("visual.blocks.0.attn.qkv.weight") == Approx(0.25));
  CHECK(learning.lr_factor("visual.patch_embed.proj.weight") == Approx(0.125));
  CHECK(learning.lr_factor("visual.merger.mlp.0.weight") == 1);
  CHECK(learning.lr_factor("model.layers.0.mlp.up.weight") == 1);
  CHECK_FALSE(learning.frozen("visual.patch_embed.proj.weight"));
}

TEST_CASE("first_layers_frozen: with what comes before them, not what comes behind", "[unit]") {
  configs::Config config = all_learn();
  config.groups.model.first_layers_frozen = 1;
  const Learning learning(config, kNames);
  CHECK(learning.frozen("model.embed_tokens.weight"));
  CHECK(learning.frozen("model.layers.0.mlp.up.weight"));
  CHECK_FALSE(learning.frozen("model.layers.1.mlp.up.weight"));
  CHECK_FALSE(learning.frozen("model.norm.weight"));
  CHECK_FALSE(learning.frozen("visual.blocks.0.attn.qkv.weight"));

  config.groups.model.first_layers_frozen = 3;
  CHECK_THROWS_WITH(
      Learning(config, kNames),
      ContainsSubstring("groups.model.first_layers_frozen is 3, and the group has 2"));
  config.groups.model.first_layers_frozen = 0;
  config.groups.merger.layer_decay = 0.9;
  CHECK_THROWS_WITH(Learning(config, kNames),
                    ContainsSubstring("groups.merger.layer_decay is 0.9, and the group has no"));
}

TEST_CASE("groups.freeze: what a pattern is found in stays; one that matches nothing stops",
          "[unit][fault]") {
  configs::Config config = all_learn();
  config.groups.freeze = {R"(visual\.blocks\.[01]\.)", R"(norm\.weight$)"};
  const Learning learning(config, kNames);
  CHECK(learning.frozen("visual.blocks.0.attn.qkv.weight"));
  CHECK_FALSE(learning.frozen("visual.blocks.2.attn.qkv.weight"));
  CHECK(learning.frozen("model.norm.weight"));
  CHECK(learning.frozen("detection_head.layers.0.norm.weight"));

  config.groups.freeze = {R"(visual\.block\.0\.)"};
  CHECK_THROWS_WITH(
      Learning(config, kNames),
      ContainsSubstring("groups.freeze: visual\\.block\\.0\\. matches no parameter") &&
          ContainsSubstring("visual.blocks.0.attn.qkv.weight"));
  config.groups.freeze = {"("};
  CHECK_THROWS_WITH(Learning(config, kNames), ContainsSubstring("is no regular expression"));
}

TEST_CASE("a config in which nothing trains is refused", "[unit][fault]") {
  configs::Config config = all_learn();
  config.groups.freeze = {"."};
  CHECK_THROWS_WITH(Learning(config, kNames), ContainsSubstring("nothing would train"));
  config.groups.freeze = {"visual", "model"};
  CHECK_NOTHROW(Learning(config, kNames));
  config.detection.enabled = false;
  CHECK_THROWS_AS(Learning(config, kNames), ConfigError);
}

}  // namespace
}  // namespace muster::trainer
