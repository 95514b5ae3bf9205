// What micro-batches are made equal by, and the MFU is reckoned from: only what runs counts.
#include <catch2/catch_test_macros.hpp>

#include "model/files/multiply_adds.h"
#include "trainer/assembly/options.h"

namespace muster::trainer {
namespace {

model::QwenConfig small_model() {
  model::QwenConfig model{};
  model.text.num_layers = 2;
  model.text.hidden_size = 64;
  model.text.num_heads = 4;
  model.text.num_kv_heads = 2;
  model.text.head_dim = 16;
  model.text.intermediate_size = 128;
  model.text.vocab_size = 1000;
  model.vision.depth = 2;
  model.vision.hidden_size = 32;
  model.vision.intermediate_size = 64;
  model.vision.out_hidden_size = 64;
  model.vision.in_channels = 3;
  model.vision.patch_size = 14;
  model.vision.temporal_patch_size = 2;
  model.vision.spatial_merge_size = 2;
  return model;
}

configs::Config detector(configs::Memory memory, configs::Labels labels) {
  configs::Config config;
  config.detection.enabled = true;
  config.detection.memory = memory;
  config.detection.labels = labels;
  config.loss.lm = 1;
  config.loss.caption = 1;
  return config;
}

data::SampleSize sample(std::int64_t answer_tokens) {
  data::SampleSize size;
  size.tokens = 100;
  size.vision_tokens = 80;
  size.denominators.tokens = answer_tokens;
  size.denominators.caption_tokens = 7;
  return size;
}

TEST_CASE("token cost: a language model that rests costs nothing", "[unit]") {
  const model::QwenConfig model = small_model();
  const model::MultiplyAdds work = model::multiply_adds(model);
  const std::int64_t patches = 80 * model.vision.merge_unit();
  const std::int64_t tower =
      2 * patches * (work.patch + work.window) + 2 * patches * patches * work.patch_pair;
  const auto cost =
      token_cost(detector(configs::Memory::kPatches, configs::Labels::kClosed), model);
  CHECK(cost.of(sample(0)) == tower);
  const std::int64_t language = 2 * (work.token * 100 + work.token_pair * 100 * 100);
  CHECK(cost.of(sample(5)) == tower + language + 2 * work.logits * 5);
}

TEST_CASE("token cost: a head that attends to language needs it for every sample", "[unit]") {
  const model::QwenConfig model = small_model();
  const auto rests =
      token_cost(detector(configs::Memory::kPatches, configs::Labels::kClosed), model);
  const auto runs =
      token_cost(detector(configs::Memory::kPatchesLanguage, configs::Labels::kClosed), model);
  CHECK(runs.of(sample(0)) > rests.of(sample(0)));
}

TEST_CASE("token cost: rows of logits are those of open captions", "[unit]") {
  const model::QwenConfig model = small_model();
  const auto closed =
      token_cost(detector(configs::Memory::kPatches, configs::Labels::kClosed), model);
  const auto open = token_cost(detector(configs::Memory::kPatches, configs::Labels::kOpen), model);
  const std::int64_t row = 2 * model::multiply_adds(model).logits;
  CHECK(open.of(sample(0)) == closed.of(sample(0)) + 7 * row);
}

TEST_CASE("token cost: captions of a pack's words cost rows of these alone", "[unit]") {
  const model::QwenConfig model = small_model();
  const configs::Config config = detector(configs::Memory::kPatches, configs::Labels::kOpen);
  const std::int64_t whole = token_cost(config, model).of(sample(0));
  const std::int64_t some = token_cost(config, model, 30).of(sample(0));
  CHECK(whole - some == 7 * 2 * (model.text.vocab_size - 30) * model.text.hidden_size);
}

}  // namespace
}  // namespace muster::trainer
