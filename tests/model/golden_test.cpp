// The oracles of transformers, through the same code as the golden_check program.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

#include "base/files.h"
#include "golden_check/model.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "support/test_paths.h"

using namespace muster;

TEST_CASE(
    "the Qwen-VL family equals transformers: positions, embeddings, logits, loss, gradients, "
    "generation, AdamW",
    "[golden]") {
  const auto dir = test::shared(GENERATE("golden/qwen2_5_vl_untied", "golden/qwen2_5_vl_tied",
                                         "golden/qwen2_vl_tied", "golden/qwen3_vl_tied"));
  golden::Report report;
  CHECK(golden::check_model(dir, report));
  CHECK(report.lines > 300);
  CHECK(report.failures == 0);
}

TEST_CASE("golden_check fails on wrong numbers", "[golden][fault]") {
  const auto dir = test::shared("golden/qwen2_5_vl_tied");
  const TempDir copy;
  fs::copy(dir / "config.json", copy.path());
  fs::copy(dir / "model.safetensors", copy.path());
  const model::SafetensorsReader file(dir / "text_only.safetensors");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& name : file.names()) tensors.emplace_back(name, file.copy(name));
  for (auto& [name, tensor] : tensors)
    if (name == "loss") tensor *= 1.001;
  model::write_safetensors(copy.path() / "wrong.safetensors", tensors);
  golden::Report report;
  CHECK_FALSE(golden::check_model(copy.path(), report));
  CHECK(report.failures == 1);
}
