#include "model/adapters/peft_folder.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/shapes.h"
#include "model/qwen/small_model.h"

using namespace muster;
using namespace muster::model;
using Catch::Matchers::ContainsSubstring;

namespace {

LoraSetup setup_of(const std::vector<std::string>& patterns, bool dora = false) {
  const auto layers = adaptable_layers(test::small_config());
  return {.rank = 2,
          .alpha = 5,
          .dropout = 0.25,
          .rslora = true,
          .dora = dora,
          .layers = matching_layers(layers, patterns, "targets")};
}

QwenVL model_of(const LoraSetup& setup, std::uint64_t seed) {
  return QwenVL::random(test::small_config(), {.lora = setup.options(seed)}, 1);
}

void write(const fs::path& folder, const LoraSetup& setup, const QwenVL& qwen) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const NamedParam& p : qwen.parameters())
    if (is_adapter(p.name)) tensors.emplace_back(p.name, p.tensor);
  write_adapter(folder, {.setup = setup, .base_model = "/base", .metadata = {{"k", "v"}}},
                test::small_config(), tensors);
}

nlohmann::json config_of(const fs::path& folder) {
  return nlohmann::json::parse(read_text(folder / kAdapterConfigFile));
}

void set(const fs::path& folder, const std::string& key, const nlohmann::json& value) {
  auto json = config_of(folder);
  json[key] = value;
  write_text(folder / kAdapterConfigFile, json.dump());
}

}  // namespace

TEST_CASE("an adapter reads back as it was written, under PEFT's names", "[unit]") {
  for (const bool dora : {false, true}) {
    const TempDir dir;
    const LoraSetup setup = setup_of({"q_proj", "down_proj", "qkv"}, dora);
    const QwenVL qwen = model_of(setup, 4);
    write(dir.path(), setup, qwen);

    const SafetensorsReader file(dir.path() / kAdapterFile);
    CHECK(file.contains(
        "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"));
    CHECK(file.contains("base_model.model.model.visual.blocks.2.attn.qkv.lora_B.weight"));
    CHECK(
        file.contains(
            "base_model.model.model.language_model.layers.1.mlp.down_proj.lora_magnitude_vector") ==
        dora);

    const PeftAdapter read = read_adapter(dir.path());
    CHECK(read.setup.rank == 2);
    CHECK(read.setup.alpha == 5);
    CHECK(read.setup.dropout == 0.25);
    CHECK(read.setup.rslora);
    CHECK(read.setup.dora == dora);
    CHECK(read.base_model == "/base");
    CHECK(read.metadata.at("k") == "v");
    CHECK(std::set(read.setup.layers.begin(), read.setup.layers.end()) ==
          std::set(setup.layers.begin(), setup.layers.end()));

    const QwenVL other = model_of(read.setup, 5);
    load_adapter(dir.path(), other.parameters());
    const auto wanted = qwen.parameters(), got = other.parameters();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CAPTURE(wanted[i].name);
      CHECK(got[i].name == wanted[i].name);
      CHECK(at::equal(got[i].tensor, wanted[i].tensor));
    }
  }
}

TEST_CASE("target_modules are ends of names only where those mean exactly the layers", "[unit]") {
  const TempDir dir;
  const LoraSetup ends = setup_of({"q_proj", "o_proj"});
  write(dir.path(), ends, model_of(ends, 4));
  CHECK(config_of(dir.path())["target_modules"] == nlohmann::json({"o_proj", "q_proj"}));
  CHECK(config_of(dir.path())["lora_alpha"].is_number_integer());
  // gate_proj is in the vision tower, too
  const LoraSetup one_tower = setup_of({R"(model\.layers.*gate_proj)"});
  write(dir.path(), one_tower, model_of(one_tower, 4));
  CHECK(config_of(dir.path())["target_modules"] ==
        nlohmann::json({"model.language_model.layers.0.mlp.gate_proj",
                        "model.language_model.layers.1.mlp.gate_proj"}));
}

TEST_CASE("an end that another module has, too, is no target", "[unit]") {
  // "proj" is the patch embedding's convolution as well, and "0" is any first block.
  for (const std::string pattern : {"attn.proj", "merger.mlp.0"}) {
    const TempDir dir;
    const LoraSetup setup = setup_of({pattern});
    write(dir.path(), setup, model_of(setup, 4));
    const auto targets = config_of(dir.path())["target_modules"];
    REQUIRE(targets.size() == setup.layers.size());
    for (const auto& target : targets)
      CHECK(target.get<std::string>().starts_with("model.visual."));
  }
}

TEST_CASE("the names of transformers before 4.52 are read, too", "[unit]") {
  const TempDir dir;
  const LoraSetup setup = setup_of({"q_proj", "qkv"});
  const QwenVL qwen = model_of(setup, 4);
  write(dir.path(), setup, qwen);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const NamedParam& p : qwen.parameters())
    if (is_adapter(p.name)) tensors.emplace_back("base_model.model." + p.name, p.tensor);
  write_safetensors(dir.path() / kAdapterFile, tensors);
  load_adapter(dir.path(), model_of(read_adapter(dir.path()).setup, 5).parameters());
}

TEST_CASE("what muster does not compute is refused by name", "[unit]") {
  const TempDir dir;
  const LoraSetup setup = setup_of({"q_proj"});
  write(dir.path(), setup, model_of(setup, 4));
  const std::string good = read_text(dir.path() / kAdapterConfigFile);
  const std::vector<std::pair<std::string, nlohmann::json>> foreign = {
      {"peft_type", "IA3"},
      {"bias", "lora_only"},
      {"modules_to_save", {"embed_tokens"}},
      {"rank_pattern", {{"q_proj", 4}}},
      {"alpha_pattern", {{"q_proj", 4}}},
      {"fan_in_fan_out", true},
      {"layer_replication", {{0, 1}}},
      {"lora_bias", true},
      {"r", "many"}};
  for (const auto& [key, value] : foreign) {
    CAPTURE(key);
    set(dir.path(), key, value);
    CHECK_THROWS_WITH(read_adapter(dir.path()), ContainsSubstring(key + " is "));
    CHECK_THROWS_AS(read_adapter(dir.path()), CheckpointError);
    write_text(dir.path() / kAdapterConfigFile, good);
  }
  write_text(dir.path() / kAdapterConfigFile, "[1");
  CHECK_THROWS_AS(read_adapter(dir.path()), CheckpointError);
  write_text(dir.path() / kAdapterConfigFile, good);
  fs::rename(dir.path() / kAdapterFile, dir.path() / "adapter_model.bin");
  CHECK_THROWS_WITH(read_adapter(dir.path()), ContainsSubstring("is a pickle"));
}

TEST_CASE("an adapter of other layers or sizes is refused with every difference", "[unit]") {
  const TempDir dir;
  const LoraSetup setup = setup_of({"q_proj"});
  write(dir.path(), setup, model_of(setup, 4));
  CHECK_THROWS_WITH(load_adapter(dir.path(), model_of(setup_of({"k_proj"}), 4).parameters()),
                    ContainsSubstring("missing model.layers.0.self_attn.k_proj.lora_A.weight") &&
                        ContainsSubstring("unexpected base_model.model.model.language_model.") &&
                        ContainsSubstring("(8 tensors)"));
  LoraSetup wide = setup;
  wide.rank = 3;
  CHECK_THROWS_WITH(load_adapter(dir.path(), model_of(wide, 4).parameters()),
                    ContainsSubstring("is [2, 32] in the file, [3, 32] here"));
}
