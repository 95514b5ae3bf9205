#include "model/qwen/weights.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/shapes.h"
#include "model/qwen/small_model.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

Tensors random_checkpoint(const QwenConfig& config) {
  Tensors tensors;
  for (const auto& [name, tensor] : random_weights(config, at::kFloat, 1))
    tensors.emplace_back(name, tensor);
  return tensors;
}

std::string transformers_name(const std::string& name) {
  if (name.starts_with("visual.")) return "model." + name;
  if (name.starts_with("model.")) return "model.language_model." + name.substr(6);
  return name;
}

Weights load(const Tensors& tensors, const QwenConfig& config) {
  const TempDir dir;
  write_safetensors(dir.path() / "model.safetensors", tensors);
  return load_weights(dir.path(), config, at::kFloat);
}

}  // namespace

TEST_CASE("both name layouts load the same weights", "[unit]") {
  const QwenConfig config = small_config(false);
  const Tensors published = random_checkpoint(config);
  Tensors renamed = published;
  for (auto& [name, tensor] : renamed) name = transformers_name(name);
  const Weights a = load(published, config), b = load(renamed, config);
  REQUIRE(a.size() == published.size());
  for (const auto& [name, tensor] : published) {
    CHECK(at::equal(a.at(name), tensor));
    CHECK(at::equal(b.at(name), tensor));
  }
}

TEST_CASE("every family's names go to files and back", "[unit]") {
  const std::string type = GENERATE("qwen2_vl", "qwen2_5_vl", "qwen3_vl");
  const Family& family = family_of(type);
  for (const auto& [name, shape] : parameter_shapes(small_family(type, false))) {
    CHECK(published_name(file_name(name, family)) == name);
    CHECK(file_name(name, family) == (type == "qwen3_vl" ? transformers_name(name) : name));
  }
}

TEST_CASE("any float dtype on disk loads as any other", "[unit]") {
  const QwenConfig config = small_config();
  const at::ScalarType stored = GENERATE(at::kFloat, at::kHalf, at::kBFloat16);
  const at::ScalarType wanted = GENERATE(at::kFloat, at::kHalf, at::kBFloat16);
  Tensors tensors = random_checkpoint(config);
  for (auto& [name, tensor] : tensors) tensor = tensor.to(stored);
  const TempDir dir;
  write_safetensors_folder(dir.path(), tensors, 10'000);
  REQUIRE(fs::exists(dir.path() / "model.safetensors.index.json"));
  const Weights loaded = load_weights(dir.path(), config, wanted);
  for (const auto& [name, tensor] : tensors) CHECK(at::equal(loaded.at(name), tensor.to(wanted)));
}

TEST_CASE("integers are no weights", "[unit][fault]") {
  const QwenConfig config = small_config();
  Tensors tensors = random_checkpoint(config);
  for (auto& [name, tensor] : tensors)
    if (name == "model.norm.weight") tensor = tensor.to(at::kInt);
  CHECK_THROWS_WITH(load(tensors, config),
                    ContainsSubstring("no weights  model.norm.weight: Int numbers"));
}

TEST_CASE("missing, unexpected and mis-shaped tensors are listed together", "[unit][fault]") {
  const QwenConfig config = small_config(false);
  Tensors tensors = random_checkpoint(config);
  tensors.erase(std::find_if(tensors.begin(), tensors.end(),
                             [](auto& t) { return t.first == "visual.merger.ln_q.weight"; }));
  tensors.emplace_back("model.layers.7.mlp.up_proj.weight", at::zeros({1}));
  for (auto& [name, tensor] : tensors)
    if (name == "model.norm.weight") tensor = at::ones({31});
  CHECK_THROWS_WITH(load(tensors, config),
                    ContainsSubstring("missing     visual.merger.ln_q.weight") &&
                        ContainsSubstring("unexpected  model.layers.7.mlp.up_proj.weight") &&
                        ContainsSubstring("mis-shaped  model.norm.weight: [31] in the file, [32]"));
}

TEST_CASE("a tied checkpoint may repeat the embedding, if it is the same", "[unit][fault]") {
  const QwenConfig config = small_config(true);
  Tensors tensors = random_checkpoint(config);
  at::Tensor embedding;
  for (auto& [name, tensor] : tensors)
    if (name == "model.embed_tokens.weight") embedding = tensor;
  tensors.emplace_back("lm_head.weight", embedding);
  CHECK(!load(tensors, config).contains("lm_head.weight"));
  tensors.back().second = embedding + 1;
  CHECK_THROWS_WITH(load(tensors, config),
                    ContainsSubstring("lm_head.weight: tied by config.json, but not equal"));
}

TEST_CASE("a head stored twice may have another dtype", "[unit]") {
  const QwenConfig config = small_config(true);
  const auto [stored, head] =
      GENERATE(std::pair{at::kFloat, at::kBFloat16}, std::pair{at::kBFloat16, at::kFloat},
               std::pair{at::kHalf, at::kBFloat16});
  Tensors tensors = random_checkpoint(config);
  at::Tensor embedding;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.to(stored);
    if (name == "model.embed_tokens.weight") embedding = tensor;
  }
  tensors.emplace_back("lm_head.weight", embedding.to(head));
  CHECK(load(tensors, config).size() == tensors.size() - 1);
}

TEST_CASE("what wrappers put before names is taken off", "[unit]") {
  const QwenConfig config = small_config();
  const std::string prefix =
      GENERATE("module.", "_orig_mod.", "base_model.model.", "module._orig_mod.");
  const Tensors plain = random_checkpoint(config);
  Tensors wrapped = plain;
  for (auto& [name, tensor] : wrapped) name = std::string(prefix).append(transformers_name(name));
  const Weights loaded = load(wrapped, config);
  REQUIRE(loaded.size() == plain.size());
  for (const auto& [name, tensor] : plain) CHECK(at::equal(loaded.at(name), tensor));
  // The same tensor with and without a prefix is one too many.
  wrapped.emplace_back(plain.front());
  CHECK_THROWS_WITH(load(wrapped, config), ContainsSubstring("is given twice"));
}

TEST_CASE("tables that are made from config.json are passed over", "[unit]") {
  const QwenConfig config = small_config();
  Tensors tensors = random_checkpoint(config);
  tensors.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq", at::ones({4}));
  tensors.emplace_back("visual.rotary_pos_emb.inv_freq", at::ones({4}));
  CHECK(load(tensors, config).size() == tensors.size() - 2);
}

TEST_CASE("one cause of many problems is said first, and lists are cut at ten", "[unit][fault]") {
  const QwenConfig config = small_config(false);
  const Tensors whole = random_checkpoint(config);
  Tensors text;
  for (const auto& entry : whole)
    if (!entry.first.starts_with("visual.")) text.push_back(entry);
  CHECK_THROWS_WITH(load(text, config), ContainsSubstring("no tensor of a vision tower") &&
                                            ContainsSubstring("missing     and ") &&
                                            ContainsSubstring(" in all"));
  try {
    load(text, config);
  } catch (const CheckpointError& error) {
    const std::string message = error.what();
    CHECK(std::count(message.begin(), message.end(), '\n') == 12);
  }
  Tensors adapted = whole;
  for (auto& [name, tensor] : adapted)
    if (name == "model.layers.0.self_attn.q_proj.weight")
      name = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight";
  adapted.emplace_back("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                       at::zeros({2, 32}));
  CHECK_THROWS_WITH(load(adapted, config),
                    ContainsSubstring("2 of its tensors are of a LoRA adapter"));
  Tensors packed = whole;
  packed.emplace_back("model.layers.0.mlp.up_proj.weight_scale_inv", at::ones({1}));
  CHECK_THROWS_WITH(load(packed, config), ContainsSubstring("quantised (fp8)"));
  Tensors eight_bits = whole;
  for (auto& [name, tensor] : eight_bits)
    if (name == "model.norm.weight") tensor = tensor.to(at::kFloat8_e4m3fn);
  CHECK_THROWS_WITH(load(eight_bits, config), ContainsSubstring("no weights  model.norm.weight"));
}

TEST_CASE("random weights depend on seed and name alone and are normal", "[unit]") {
  const std::int64_t n = 400'000;
  const at::Tensor a = random_tensor("a.weight", {n / 100, 100}, 0.02, 1).to(at::kDouble) / 0.02;
  CHECK(
      at::equal(random_tensor("a.weight", {4, 4}, 1, 1), random_tensor("a.weight", {4, 4}, 1, 1)));
  CHECK(
      !at::equal(random_tensor("a.weight", {4, 4}, 1, 1), random_tensor("b.weight", {4, 4}, 1, 1)));
  CHECK(
      !at::equal(random_tensor("a.weight", {4, 4}, 1, 1), random_tensor("a.weight", {4, 4}, 1, 2)));
  CHECK(at::equal(random_tensor("norm.weight", {4}, 1, 1), at::ones({4})));
  CHECK(at::equal(random_tensor("x.bias", {4}, 1, 1), at::zeros({4})));
  // Moments within five standard errors, and the distribution function at the branch points of the
  // inverse and in the tail.
  CHECK(std::abs(a.mean().item<double>()) < 5 / std::sqrt(n));
  CHECK(std::abs(a.square().mean().item<double>() - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(a.pow(4).mean().item<double>() - 3) < 5 * std::sqrt(96.0 / n));
  for (const double x : {-3.0, -1.4395, -0.5, 0.0, 1.0, 1.4395, 2.5, 3.5}) {
    const double p = 0.5 * std::erfc(-x / std::sqrt(2.0)),
                 below = (a < x).to(at::kDouble).mean().item<double>();
    CHECK(std::abs(below - p) < 5 * std::sqrt(p * (1 - p) / n));
  }
}
