#include "model/adapters/lora_setup.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "model/qwen/shapes.h"
#include "model/qwen/small_model.h"

using namespace muster;
using namespace muster::model;
using Catch::Matchers::ContainsSubstring;
using Names = std::vector<std::string>;

namespace {

Names chosen(const Names& patterns) {
  return matching_layers(adaptable_layers(test::small_config()), patterns, "lora.targets.model");
}

}  // namespace

TEST_CASE("every Linear layer of towers and mergers can have an adapter", "[unit]") {
  const Names layers = adaptable_layers(test::small_config(false));
  // 3 blocks of qkv, proj, gate, up, down; 2 of the merger; 2 decoder layers of 7
  CHECK(layers.size() == 3 * 5 + 2 + 2 * 7);
  for (const std::string& name : layers) CHECK(name != "lm_head");
  CHECK(layers.front() == "visual.blocks.0.attn.qkv");
}

TEST_CASE("a pattern is the end of a name, an expression of the whole, or all-linear", "[unit]") {
  CHECK(chosen({"q_proj"}) ==
        Names{"model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"});
  CHECK(chosen({"merger.mlp.0"}) == Names{"visual.merger.mlp.0"});
  CHECK(chosen({R"(.*layers\.1\.mlp\.(up|down)_proj)"}) ==
        Names{"model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj"});
  CHECK(chosen({R"(model\.language_model\.layers\.0\..*o_proj)"}) ==
        Names{"model.layers.0.self_attn.o_proj"});  // transformers' name of the module
  CHECK(chosen({"model.visual.merger.mlp.2"}) == Names{"visual.merger.mlp.2"});
  CHECK(chosen({"all-linear"}) == adaptable_layers(test::small_config()));
  CHECK(chosen({"v_proj", "q_proj"}).front() == "model.layers.0.self_attn.q_proj");
  CHECK(chosen({}).empty());
}

TEST_CASE("a pattern that names nothing stops with the nearest name", "[unit]") {
  CHECK_THROWS_WITH(chosen({"q_proj", "k_porj"}),
                    ContainsSubstring("lora.targets.model: k_porj names no layer (did you mean "
                                      "'k_proj'?). Layers here end with 0, 2, down_proj"));
  CHECK_THROWS_AS(chosen({"proj_"}), ConfigError);  // the end of a name is whole
  CHECK_THROWS_WITH(chosen({"(q_proj"}), ContainsSubstring("is no regular expression"));
}

TEST_CASE("the scale is alpha / rank, of rsLoRA alpha / sqrt(rank)", "[unit]") {
  LoraSetup setup{.rank = 16, .alpha = 32};
  CHECK(setup.scale() == 2);
  setup.rslora = true;
  CHECK(setup.options(0).scale == 8);
}
