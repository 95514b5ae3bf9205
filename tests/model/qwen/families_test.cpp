// What sets the members of the Qwen-VL family apart, one by one; golden_test compares them whole
// with transformers.
#include <ATen/core/grad_mode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include "base/error.h"
#include "model/files/family.h"
#include "model/qwen/learned_positions.h"
#include "model/qwen/rope_index.h"
#include "model/qwen/rotary.h"
#include "model/qwen/small_model.h"
#include "model/qwen/vision_plan.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

MicroBatch family_batch(const QwenConfig& config, std::uint64_t seed) {
  return small_batch({{{8, 12}, {4, 4}}, {}, {{4, 8}}}, 6, seed, config.vision.patch_dim());
}

std::string any_family() { return GENERATE("qwen2_vl", "qwen2_5_vl", "qwen3_vl"); }

}  // namespace

TEST_CASE("every parameter of every family gets a gradient, the same when blocks are recomputed",
          "[unit]") {
  const QwenConfig config = small_family(any_family());
  const MicroBatch batch = family_batch(config, 1);
  const QwenVL plain = QwenVL::random(config, {}, 3);
  const QwenVL saving =
      QwenVL::random(config, {.checkpoint_vision = true, .checkpoint_language = true}, 3);
  train_all(plain);
  train_all(saving);
  const auto expected = gradients(plain, batch), got = gradients(saving, batch);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(config.model_type << " " << plain.parameters()[i].name);
    REQUIRE(expected[i].defined());
    CHECK(expected[i].abs().max().item<float>() > 0);
    CHECK(at::equal(expected[i], got[i]));
  }
}

TEST_CASE("samples of one batch do not see each other in any family", "[unit]") {
  const QwenConfig config = small_family(any_family());
  const QwenVL qwen = QwenVL::random(config, {}, 4);
  const MicroBatch both = small_batch({{{8, 4}}, {{4, 4}}}, 5, 1, config.vision.patch_dim());
  MicroBatch second = both;
  const std::int64_t start = both.cu_seqlens[1], length = both.cu_seqlens[2] - start;
  second.input_ids = both.input_ids.narrow(0, start, length);
  second.labels = both.labels.narrow(0, start, length);
  second.cu_seqlens = {0, length};
  second.pixel_values = both.pixel_values.narrow(0, 32, 16);
  second.grid_thw = both.grid_thw.narrow(0, 1, 1);
  const at::Tensor together = qwen.forward(both).hidden.narrow(0, start, length),
                   alone = qwen.forward(second).hidden;
  CHECK((together - alone).abs().max().item<float>() < 1e-4);
}

TEST_CASE("generation with a cache equals running everything again in every family", "[unit]") {
  const QwenConfig config = small_family(any_family());
  const QwenVL qwen = QwenVL::random(config, {}, 8);
  MicroBatch prompt = small_batch({{{8, 4}}}, 5, 2, config.vision.patch_dim());
  at::Tensor step_logits;
  const auto ids = qwen.generate(prompt, {.max_new_tokens = 4}, &step_logits);
  const at::NoGradGuard off;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const at::Tensor last = qwen.logits(qwen.forward(prompt).hidden)[-1];
    CHECK((last - step_logits[static_cast<std::int64_t>(i)]).abs().max().item<float>() < 1e-4);
    prompt.input_ids = at::cat({prompt.input_ids, at::tensor({ids[i]}, at::kLong)});
    prompt.cu_seqlens.back() += 1;
  }
}

TEST_CASE("the table of learned positions is interpolated, corners on corners", "[unit]") {
  constexpr std::int64_t kPictureSide = 5, kRows = 4, kColumns = 6, kMerge = 2;
  // A plane is what bilinear interpolation reproduces exactly: entry (y, x) holds 10 y + x.
  const at::Tensor axis = at::arange(kPictureSide, at::kFloat);
  const at::Tensor table =
      (10 * axis.unsqueeze(1) + axis.unsqueeze(0)).reshape({kPictureSide * kPictureSide, 1});
  const at::Tensor got = learned_positions(
      table, at::tensor(std::vector<std::int64_t>{2, kRows, kColumns}).view({1, 3}), kMerge);
  REQUIRE(got.sizes() == at::IntArrayRef({2 * kRows * kColumns, 1}));
  std::int64_t row = 0;
  for (std::int64_t frame = 0; frame < 2; ++frame)
    for (std::int64_t my = 0; my < kRows; my += kMerge)
      for (std::int64_t mx = 0; mx < kColumns; mx += kMerge)
        for (std::int64_t inner = 0; inner < kMerge * kMerge; ++inner) {
          const std::int64_t patch_y = my + inner / kMerge, patch_x = mx + inner % kMerge;
          const double y = static_cast<double>(patch_y) * (kPictureSide - 1) / (kRows - 1);
          const double x = static_cast<double>(patch_x) * (kPictureSide - 1) / (kColumns - 1);
          CHECK(std::abs(got[row++].item<double>() - (10 * y + x)) < 1e-4);
        }
}

TEST_CASE("M-RoPE rows: in runs, and interleaved", "[unit]") {
  TextConfig config = small_config().text;
  config.head_dim = 16;
  config.mrope_section = {4, 2, 2};
  config.rope_theta = 100;
  const at::Tensor positions =
      at::tensor({1, 10, 100}, at::kLong).view({3, 1});  // the angle tells the row
  const auto rows = [&](bool interleaved) {
    const Rotary rotary = text_rotary(positions, config, interleaved, at::kDouble, at::kCPU);
    std::vector<std::int64_t> result;
    for (std::int64_t i = 0; i < 8; ++i)
      for (std::int64_t row = 0; row < 3; ++row) {
        const double frequency = std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / 16);
        const double angle = positions[row][0].item<double>() * frequency;
        if (std::abs(rotary.cos[0][0][i].item<double>() - std::cos(angle)) < 1e-4 &&
            std::abs(rotary.sin[0][0][i].item<double>() - std::sin(angle)) < 1e-4)
          result.push_back(row);
      }
    return result;
  };
  CHECK(rows(false) == std::vector<std::int64_t>{0, 0, 0, 0, 1, 1, 2, 2});
  CHECK(rows(true) == std::vector<std::int64_t>{0, 1, 2, 0, 1, 2, 0, 0});
}

TEST_CASE("without windows every frame is one segment, in the image's order", "[unit]") {
  const VisionPlan plan = plan_vision(at::tensor({1, 20, 12, 2, 8, 8}, at::kLong).view({2, 3}),
                                      small_family("qwen2_vl").vision, at::kFloat, at::kCPU);
  CHECK(plan.in_order);
  CHECK(plan.cu_windows == std::vector<std::int64_t>{0, 240, 304, 368});
  CHECK(plan.cu_windows == plan.cu_frames);
}

TEST_CASE("DeepStack reaches the decoder, and text alone needs none of it", "[unit]") {
  const QwenConfig config = small_family("qwen3_vl");
  const QwenVL qwen = QwenVL::random(config, {}, 5);
  const at::NoGradGuard off;
  const MicroBatch batch = family_batch(config, 2);
  const QwenOutput with = qwen.forward(batch);
  REQUIRE(with.deepstack.size() == 2);
  CHECK(with.deepstack[0].sizes() == with.image_embeds.sizes());
  for (const auto& p : qwen.parameters())
    if (p.name.starts_with("visual.deepstack_merger_list.1.linear_fc2."))
      at::Tensor(p.tensor).zero_();
  CHECK((qwen.forward(batch).hidden - with.hidden).abs().max().item<float>() > 1e-3);
  CHECK(qwen.forward(small_batch({{}}, 4)).deepstack.empty());
}

TEST_CASE("the gate opens Qwen3-VL's own parameters before they are used", "[unit]") {
  const QwenConfig config = small_family("qwen3_vl");
  QwenVL qwen = QwenVL::random(config, {}, 9);
  std::vector<std::string> calls;
  qwen.set_forward_gate([&](std::string_view prefix) { calls.emplace_back(prefix); });
  qwen.forward(family_batch(config, 3));
  calls.resize(8);
  CHECK(calls == std::vector<std::string>{"visual.patch_embed.", "visual.pos_embed.",
                                          "visual.blocks.0.", "visual.deepstack_merger_list.0.",
                                          "visual.blocks.1.", "visual.blocks.2.",
                                          "visual.deepstack_merger_list.1.", "visual.merger."});
}

TEST_CASE("a model that is no member is refused with the list of members", "[unit][fault]") {
  CHECK_THROWS_WITH(
      family_of("qwen3_vl_moe"),
      ContainsSubstring("\"qwen3_vl_moe\"") && ContainsSubstring("qwen2_vl, qwen2_5_vl, qwen3_vl"));
}
