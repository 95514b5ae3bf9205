// The model's files, looked at before anything is loaded.
#include "trainer/assembly/model_check.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "data/images/preprocessor_file.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/weights.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/options.h"
#include "trainer/assembly/run_data.h"
#include "trainer/tiny_families.h"

using namespace muster;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

// A model folder with weights, and a run that starts from them.
struct Folder {
  TempDir dir;
  configs::Config config;
  model::QwenConfig model;
  model::Weights weights;

  Folder() {
    write_family_config("qwen2_5_vl", dir.path());
    config = family_run(dir.path() / "run", dir.path());
    config.model.random_init = false;
    model = model::read_config(dir.path());
    weights = model::random_weights(model, at::kBFloat16, 1);
    write();
  }
  void write() const {
    model::write_safetensors(dir.path() / "model.safetensors", {weights.begin(), weights.end()});
  }
  trainer::ModelCheck check() const { return trainer::check_model(config, model); }
};

}  // namespace

TEST_CASE("check_model: what is right is said in a line each", "[unit]") {
  Folder folder;
  CHECK_THAT(folder.check().weights, ContainsSubstring("parameters in BF16, as config.json says"));
  CHECK_THAT(folder.check().processor, ContainsSubstring("no file"));
  data::PatchOptions patches = trainer::encode_options(folder.config, folder.model).patches;
  patches.max_pixels = 12345;
  write_text(folder.dir.path() / "preprocessor_config.json", data::preprocessor_json(patches));
  CHECK_THAT(folder.check().processor,
             ContainsSubstring("to 12345 pixels a picture; the run takes"));
  folder.config.model.random_init = true;
  CHECK_THAT(folder.check().weights, ContainsSubstring("random"));
}

TEST_CASE("check_model: wrong weights are data that no other attempt mends", "[unit][fault]") {
  Folder folder;
  folder.weights.erase("model.norm.weight");
  folder.write();
  CHECK_THROWS_AS(folder.check(), DataError);
  CHECK_THROWS_WITH(folder.check(), ContainsSubstring("missing     model.norm.weight"));
  const data::Tokenizer tokenizer = trainer::checked_tokenizer(folder.config, folder.model);
  CHECK_THROWS_AS(trainer::build_detector(folder.config, tokenizer, {}), DataError);
  fs::remove(folder.dir.path() / "model.safetensors");
  CHECK_THROWS_WITH(folder.check(), ContainsSubstring("neither model.safetensors"));
}

TEST_CASE("check_model: a processor of another model is refused", "[unit][fault]") {
  Folder folder;
  data::PatchOptions patches = trainer::encode_options(folder.config, folder.model).patches;
  patches.patch_size = 16;
  write_text(folder.dir.path() / "preprocessor_config.json", data::preprocessor_json(patches));
  CHECK_THROWS_AS(folder.check(), ConfigError);
  CHECK_THROWS_WITH(folder.check(), ContainsSubstring("14, 2, 2 by config.json, 16, 2, 2 by"));
}

TEST_CASE("a folder without config.json is told by what it holds", "[unit][fault]") {
  Folder folder;
  const TempDir adapter;
  write_text(adapter.path() / "adapter_config.json",
             R"({"base_model_name_or_path": "Qwen/Qwen2.5-VL-7B-Instruct"})");
  folder.config.model.path = {adapter.path().string()};
  CHECK_THROWS_WITH(trainer::encode_options(folder.config, folder.model),
                    ContainsSubstring("a LoRA adapter of Qwen/Qwen2.5-VL-7B-Instruct"));
}
