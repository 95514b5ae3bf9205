// Folders that are no model of ours, and what is said of each.
#include "model/files/foreign_model.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/files/config.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"

using namespace muster;
using namespace muster::model;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("a folder that holds something else is told by its files", "[unit][fault]") {
  struct Row {
    const char* file;
    const char* text;
    const char* said;
  };
  const std::vector<Row> rows = {
      {"adapter_config.json", R"({"base_model_name_or_path": "Qwen/Qwen2.5-VL-3B-Instruct"})",
       "a LoRA adapter of Qwen/Qwen2.5-VL-3B-Instruct, not a model: set model.path"},
      {"adapter_config.json", "{}", "a LoRA adapter of an unnamed model"},
      {"pytorch_model.bin", "PK", "pytorch_model.bin, a pickle"},
      {"pytorch_model.bin.index.json", "{}", "a pickle"},
      {"model.pth", "PK", "model.pth, a pickle"},
      {"zero_to_fp32.py", "", "a DeepSpeed checkpoint"},
      {"model-q4.gguf", "GGUF", "model-q4.gguf"}};
  for (const Row& row : rows) {
    const TempDir dir;
    INFO(row.file);
    write_text(dir.path() / row.file, row.text);
    CHECK_THAT(foreign_model(dir.path()), ContainsSubstring(row.said));
    CHECK_THROWS_WITH(read_config(dir.path()), ContainsSubstring(row.said));
    CHECK_THROWS_WITH(SafetensorsReader(dir.path()), ContainsSubstring(row.said));
  }
  const TempDir cache, empty;
  fs::create_directories(cache.path() / "snapshots/abc");
  write_text(cache.path() / "snapshots/abc/config.json", "{}");
  CHECK_THAT(foreign_model(cache.path()), ContainsSubstring("snapshots/abc"));
  CHECK(foreign_model(empty.path()).empty());
}

TEST_CASE("Git LFS pointers stand for any file of a folder", "[unit][fault]") {
  const TempDir dir;
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3968658944\n";
  for (const char* name : {"config.json", "model.safetensors"})
    write_text(dir.path() / name, pointer);
  CHECK_THROWS_WITH(read_config(dir.path()), ContainsSubstring("git lfs pull"));
  CHECK_THROWS_WITH(SafetensorsReader(dir.path()), ContainsSubstring("git lfs pull"));
  write_text(dir.path() / "model.safetensors.index.json", pointer);
  CHECK_THROWS_WITH(SafetensorsReader(dir.path()), ContainsSubstring("git lfs pull"));
}

TEST_CASE("two sets of weights in one folder are refused", "[unit][fault]") {
  const TempDir dir;
  const at::Tensor a = at::zeros({4000}), b = at::ones({4000});
  write_safetensors_folder(dir.path(), {{"a", a}, {"b", b}}, 16'000);
  REQUIRE(fs::exists(dir.path() / "model.safetensors.index.json"));
  CHECK(SafetensorsReader(dir.path()).names().size() == 2);
  write_safetensors(dir.path() / "model.safetensors", {{"a", b}, {"b", b}});
  CHECK_THROWS_WITH(SafetensorsReader(dir.path()), ContainsSubstring("two sets of weights"));
  // An index over model.safetensors itself is one set.
  write_text(dir.path() / "model.safetensors.index.json",
             R"({"weight_map": {"a": "model.safetensors", "b": "model.safetensors"}})");
  CHECK(at::equal(SafetensorsReader(dir.path()).copy("a"), b));
}

TEST_CASE("packed tensors tell the method that packed them", "[unit]") {
  const auto method = [](std::vector<std::string> names) { return quantisation_of(names); };
  CHECK(method({"a.weight", "a.weight_scale_inv"}) == "fp8");
  CHECK(method({"a.qweight", "a.qzeros", "a.g_idx"}) == "gptq");
  CHECK(method({"a.qweight", "a.qzeros", "a.scales"}) == "awq");
  CHECK(method({"a.weight", "a.weight.absmax"}) == "bitsandbytes");
  CHECK(method({"a.weight", "a.bias"}).empty());
}
