// Every member of the Qwen-VL family trains, and goes back to Hugging Face.
#include <ATen/core/grad_mode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/process/atomic_file.h"
#include "data/images/preprocessor_file.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/qwen_vl.h"
#include "trainer/assembly/export_folder.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/tiny_families.h"

using namespace muster;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string each_family() { return GENERATE("qwen2_vl", "qwen2_5_vl", "qwen3_vl"); }

// A trained run of the family in `dir`/run.
RunResult train_family(const std::string& model_type, const fs::path& dir, int ranks) {
  write_family_config(model_type, dir);
  return run_threads(family_run(dir / "run", dir), ranks).front();
}

void check_equal_weights(const model::QwenVL& a, const model::QwenVL& b) {
  const auto left = a.parameters(), right = b.parameters();
  REQUIRE(left.size() == right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    INFO(left[i].name);
    CHECK(left[i].name == right[i].name);
    CHECK(at::equal(left[i].tensor, right[i].tensor));
  }
}

// An image and some text, with our logits beside them: what another program has to reproduce.
void write_case(const model::QwenVL& qwen, const fs::path& file) {
  const at::NoGradGuard no_grad;
  const model::QwenConfig& config = qwen.config();
  at::manual_seed(1);
  MicroBatch batch;
  batch.pixel_values = at::randn({6 * 4, config.vision.patch_dim()});
  batch.grid_thw = at::tensor({1, 6, 4}, at::kLong).view({1, 3});
  std::vector<std::int64_t> ids{5, 6, config.vision_start_token_id};
  ids.insert(ids.end(), 6, config.image_token_id);
  for (std::int64_t id = 10; id < 20; ++id) ids.push_back(id);
  batch.input_ids = at::tensor(ids, at::kLong);
  batch.cu_seqlens = {0, static_cast<std::int64_t>(ids.size())};
  model::write_safetensors(file, {{"input_ids", batch.input_ids.unsqueeze(0)},
                                  {"pixel_values", batch.pixel_values},
                                  {"image_grid_thw", batch.grid_thw},
                                  {"logits", qwen.logits(qwen.forward(batch).hidden)}});
}

}  // namespace

TEST_CASE("every family trains, with the same bits on 1 and 2 ranks", "[ranks]") {
  const std::string type = each_family();
  const TempDir one, two;
  const RunResult alone = train_family(type, one.path(), 1);
  for (const double loss : alone.losses) CHECK(std::isfinite(loss));
  CHECK(alone.losses.size() == 3);
  CHECK(alone == train_family(type, two.path(), 2));
}

TEST_CASE("a checkpoint of every family is exported in shards and loads to the same bits",
          "[ranks]") {
  const std::string type = each_family();
  const TempDir dir;
  train_family(type, dir.path(), 1);
  const fs::path checkpoint = trainer::resolve_checkpoint(dir.path() / "run"),
                 out = dir.path() / "hf";
  trainer::export_folder(checkpoint, out, {.shard_bytes = 200'000});
  const std::string index = read_text(out / "model.safetensors.index.json");
  CHECK_THAT(index, ContainsSubstring(type == "qwen3_vl" ? "\"model.language_model.norm.weight\""
                                                         : "\"model.norm.weight\""));
  check_equal_weights(model::QwenVL::load(out, {}), model::QwenVL::load(checkpoint, {}));
  for (const char* name : {"tokenizer.json", "detection_head.safetensors", "class_map.json",
                           "config.yaml", "modeling_muster.py"})
    CHECK(fs::exists(out / name));
  CHECK_THAT(read_text(out / "config.json"),
             ContainsSubstring("\"AutoModel\": \"modeling_muster.MusterDetector\""));
  const data::PatchOptions patches = data::read_preprocessor(out / "preprocessor_config.json");
  CHECK(patches.patch_size == (type == "qwen3_vl" ? 16 : 14));
  CHECK(patches.max_pixels == family_run(dir.path() / "run", dir.path()).data.max_pixels);
  CHECK_THROWS_AS(trainer::export_folder(checkpoint, out, {.shard_bytes = 200'000}), UsageError);
}

// The published limits and the run's differ: the export says the run's, in every file that it has.
TEST_CASE("an export says how the run prepared its pictures", "[ranks]") {
  const TempDir dir;
  const auto published = nlohmann::json::parse(
      R"({"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "merge_size": 2,
          "temporal_patch_size": 2, "image_mean": [0, 0, 0], "image_std": [1, 1, 1],
          "size": {"shortest_edge": 3136, "longest_edge": 12845056}})");
  write_text(dir.path() / "preprocessor_config.json", published.dump());
  write_text(dir.path() / "processor_config.json",
             nlohmann::json{{"image_processor", published},
                            {"video_processor", {{"max_frames", 768}}},
                            {"processor_class", "Qwen2_5_VLProcessor"}}
                 .dump());
  write_text(dir.path() / "chat_template.jinja", "{{ \"words\" }}");
  write_text(dir.path() / "generation_config.json", R"({"repetition_penalty": 1.05})");
  train_family("qwen2_5_vl", dir.path(), 1);
  trainer::export_folder(trainer::resolve_checkpoint(dir.path() / "run"), dir.path() / "hf", {});
  const configs::Config config = family_run(dir.path() / "run", dir.path());
  const fs::path hf = dir.path() / "hf";
  const data::PatchOptions told = data::read_preprocessor(hf / "preprocessor_config.json");
  CHECK((told.min_pixels == config.data.min_pixels && told.max_pixels == config.data.max_pixels));
  CHECK(std::vector(told.mean.begin(), told.mean.end()) == config.data.image_mean);
  CHECK(std::vector(told.std.begin(), told.std.end()) == config.data.image_std);
  // The files of transformers 5 that 4.49 does not read are there in its form, too.
  CHECK_FALSE(fs::exists(hf / "processor_config.json"));
  const auto json = [&](const char* name) { return nlohmann::json::parse(read_text(hf / name)); };
  CHECK(json("preprocessor_config.json")["processor_class"] == "Qwen2_5_VLProcessor");
  CHECK(json("video_preprocessor_config.json")["max_frames"] == 768);
  CHECK(json("chat_template.json")["chat_template"] == "{{ \"words\" }}");
  CHECK_THAT(read_text(dir.path() / "hf/generation_config.json"), ContainsSubstring("1.05"));
}

TEST_CASE("a Qwen3-VL run continues from a checkpoint that has transformers' names", "[ranks]") {
  const TempDir whole, parts;
  const auto run = [](const fs::path& dir, int steps) {
    write_family_config("qwen3_vl", dir);
    configs::Config config = family_run(dir / "run", dir);
    config.schedule.kind = configs::ScheduleKind::kConstant;
    config.schedule.max_steps = steps;
    return run_threads(config, 1).front();
  };
  run(parts.path(), 3);
  const RunResult rest = run(parts.path(), 5), all = run(whole.path(), 5);
  CHECK(rest.parameters == all.parameters);
  CHECK(rest.losses == std::vector<double>(all.losses.begin() + 3, all.losses.end()));
}

TEST_CASE("pixels normalised otherwise than the weights were trained with are refused",
          "[unit][fault]") {
  const TempDir dir;
  write_family_config("qwen3_vl", dir.path());
  configs::Config config = family_run(dir.path() / "run", dir.path());
  config.model.random_init = false;
  const model::QwenConfig model = model::read_config(dir.path());
  data::PatchOptions patches = trainer::encode_options(config, model).patches;
  write_text(dir.path() / "preprocessor_config.json", data::preprocessor_json(patches));
  CHECK(trainer::encode_options(config, model).patches.mean == patches.mean);
  patches.std[2] = 0.5;
  write_text(dir.path() / "preprocessor_config.json", data::preprocessor_json(patches));
  CHECK_THROWS_WITH(
      trainer::encode_options(config, model),
      ContainsSubstring("data.image_std is [") && ContainsSubstring("preprocessor_config.json"));
}

TEST_CASE("export refuses a checkpoint whose weights do not match their checksum",
          "[ranks][fault]") {
  const TempDir dir;
  train_family("qwen2_vl", dir.path(), 1);
  const fs::path checkpoint = trainer::resolve_checkpoint(dir.path() / "run");
  std::string weights = read_text(checkpoint / "model.safetensors");
  weights[weights.size() / 2] ^= 1;
  write_text(checkpoint / "model.safetensors", weights);
  CHECK_THROWS_WITH(trainer::export_folder(checkpoint, dir.path() / "hf", {.shard_bytes = 200'000}),
                    ContainsSubstring("model.safetensors does not match its checksum"));
  CHECK_FALSE(fs::exists(dir.path() / "hf"));
}

// `./run bench export` sets the variable, to a python of a throw-away environment.
TEST_CASE(
    "transformers loads what export wrote, no key missing or unexpected, with the same logits",
    "[.slow][transformers]") {
  const char* python = std::getenv("MUSTER_TRANSFORMERS_PYTHON");
  if (python == nullptr)
    SKIP("MUSTER_TRANSFORMERS_PYTHON names no python with transformers; see ./run bench export");
  const std::string type = each_family();
  const TempDir dir;
  train_family(type, dir.path(), 1);
  const fs::path out = dir.path() / "hf";
  trainer::export_folder(trainer::resolve_checkpoint(dir.path() / "run"), out,
                         {.shard_bytes = GENERATE(200'000, 1'000'000'000)});
  write_case(model::QwenVL::load(out, {}), dir.path() / "case.safetensors");
  const std::string command = std::string(python) + " " +
                              (source_dir() / "bench/export_check.py").string() + " " +
                              out.string() + " " + (dir.path() / "case.safetensors").string();
  CHECK(std::system(command.c_str()) == 0);
}
