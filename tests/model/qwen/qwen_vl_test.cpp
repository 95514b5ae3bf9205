#include "model/qwen/qwen_vl.h"

#include <ATen/core/grad_mode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "base/error.h"
#include "model/memory_meter.h"
#include "model/qwen/small_model.h"
#include "model/qwen/vision_tower.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

// One sample of a batch as a batch of its own. `images` and `patches` are those before it.
MicroBatch sample_of(const MicroBatch& all, std::size_t s, std::int64_t first_image,
                     std::int64_t images, std::int64_t first_patch, std::int64_t patches) {
  MicroBatch one;
  const std::int64_t start = all.cu_seqlens[s], length = all.cu_seqlens[s + 1] - start;
  one.input_ids = all.input_ids.narrow(0, start, length);
  one.labels = all.labels.narrow(0, start, length);
  one.cu_seqlens = {0, length};
  one.sample_ids = {0};
  if (images == 0) return one;
  one.grid_thw = all.grid_thw.narrow(0, first_image, images);
  one.pixel_values = all.pixel_values.narrow(0, first_patch, patches);
  return one;
}

double max_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE("packed samples give what each gives alone", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 1);
  // 20 x 12 patches: whole windows and edges; two images in one sample; one sample of text only.
  const MicroBatch all = small_batch({{{20, 12}}, {}, {{4, 6}, {16, 16}}}, 9);
  const at::NoGradGuard off;
  const at::Tensor logits = qwen.logits(qwen.forward(all).hidden);
  const MicroBatch alone[] = {sample_of(all, 0, 0, 1, 0, 240), sample_of(all, 1, 0, 0, 0, 0),
                              sample_of(all, 2, 1, 2, 240, 280)};
  double loss = 0;
  for (std::size_t s = 0; s < 3; ++s) {
    const at::Tensor hidden = qwen.forward(alone[s]).hidden;
    CHECK(max_difference(logits.narrow(0, all.cu_seqlens[s], alone[s].input_ids.size(0)),
                         qwen.logits(hidden)) < 1e-5);
    loss += qwen.lm_loss_sum(hidden, alone[s]).item<double>();
  }
  CHECK(std::abs(qwen.lm_loss_sum(qwen.forward(all).hidden, all).item<double>() - loss) < 1e-4);
  MicroBatch joined =
      all;  // negative control: without the boundary the second sample sees the first
  joined.cu_seqlens = {0, all.cu_seqlens[2], all.cu_seqlens[3]};
  CHECK(max_difference(logits, qwen.logits(qwen.forward(joined).hidden)) > 1e-3);
}

TEST_CASE("the loss is the plain shifted cross-entropy inside each sample", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(false), {.logits_chunk_tokens = 4}, 2);
  const MicroBatch batch =
      small_batch({{{4, 4}}, {}}, 7);  // sample 1 starts with a label that nothing predicts
  const at::Tensor hidden = qwen.forward(batch).hidden, log_p = qwen.logits(hidden).log_softmax(1);
  double expected = 0;
  for (std::size_t s = 0; s < 2; ++s)
    for (std::int64_t t = batch.cu_seqlens[s] + 1; t < batch.cu_seqlens[s + 1]; ++t)
      if (const auto label = batch.labels[t].item<std::int64_t>(); label != kIgnoreLabel)
        expected -= log_p[t - 1][label].item<double>();
  CHECK(std::abs(qwen.lm_loss_sum(hidden, batch).item<double>() - expected) < 1e-4);
}

TEST_CASE("recomputed blocks give the same gradients, bit for bit", "[unit]") {
  const MicroBatch batch = small_batch({{{20, 12}}, {{8, 8}}}, 6);
  const QwenVL plain = QwenVL::random(small_config(), {}, 3);
  const QwenVL saving =
      QwenVL::random(small_config(), {.checkpoint_vision = true, .checkpoint_language = true}, 3);
  train_all(plain);
  train_all(saving);
  const auto expected = gradients(plain, batch), got = gradients(saving, batch);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(plain.parameters()[i].name);
    REQUIRE(expected[i].defined());
    CHECK(at::equal(expected[i], got[i]));
  }
}

TEST_CASE("frozen parts cost no graph and get no gradient", "[unit]") {
  const bool recompute = GENERATE(false, true);
  const QwenVL qwen = QwenVL::random(
      small_config(), {.checkpoint_vision = recompute, .checkpoint_language = recompute}, 4);
  const MicroBatch batch = small_batch({{{8, 8}}}, 6);
  CHECK_FALSE(qwen.forward(batch).hidden.requires_grad());
  for (const auto& p : qwen.parameters())
    p.tensor.requires_grad_(p.name.starts_with("model.layers.1."));
  const QwenOutput out = qwen.forward(batch);
  CHECK_FALSE(out.image_embeds.requires_grad());
  const auto grads = gradients(qwen, batch);
  const auto params = qwen.parameters();
  for (std::size_t i = 0; i < params.size(); ++i)
    CHECK(grads[i].defined() == params[i].tensor.requires_grad());
  for (const auto& p : params) p.tensor.requires_grad_(p.name.starts_with("visual.merger."));
  CHECK(qwen.forward(batch).image_embeds.requires_grad());
}

// What backward keeps: nothing of a frozen tower but its output.
TEST_CASE("a frozen tower's activations cost no memory", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 4);
  const MicroBatch batch = small_batch({{{16, 16}}, {{8, 24}}}, 6);
  const auto held_after_vision = [&](bool trained) {
    for (const auto& p : qwen.parameters()) p.tensor.requires_grad_(trained);
    qwen.vision(batch.pixel_values, batch.grid_thw);  // fills the caches of the first call
    const MemoryMeter meter;
    const at::Tensor embeds = qwen.vision(batch.pixel_values, batch.grid_thw).image_embeds;
    return meter.held() - static_cast<std::int64_t>(embeds.nbytes());
  };
  const auto held_after_all = [&](const std::string& frozen) {
    for (const auto& p : qwen.parameters()) p.tensor.requires_grad_(!p.name.starts_with(frozen));
    const MemoryMeter meter;
    const QwenOutput out = qwen.forward(batch);
    return meter.held();
  };
  CHECK(held_after_vision(false) == 0);
  const std::int64_t vision_bytes = held_after_vision(true);
  CHECK(vision_bytes > 3 * 448 * 32 * 4 * 10);  // 3 blocks of 448 patches of 32: tens of tensors
  CHECK(held_after_all("visual.") <= held_after_all("nothing") - vision_bytes * 9 / 10);
  const std::int64_t outputs =
      (batch.input_ids.size(0) + 448 / 4) * 32 * 4;  // hidden and image_embeds
  CHECK(held_after_all("") == outputs);              // only the head is trained
}

TEST_CASE("a batch of text only", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 5);
  train_all(qwen);
  const MicroBatch batch = small_batch({{}, {}}, 5);
  CHECK_FALSE(qwen.forward(batch).image_embeds.defined());
  const auto grads = gradients(qwen, batch);
  const auto params = qwen.parameters();
  for (std::size_t i = 0; i < params.size(); ++i)
    CHECK(grads[i].defined() == !params[i].name.starts_with("visual."));
}

TEST_CASE("a batch without labels has loss zero, with a graph", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 5);
  train_all(qwen);
  MicroBatch batch = small_batch({{{4, 4}}}, 5);
  batch.labels.fill_(kIgnoreLabel);
  const at::Tensor loss = qwen.lm_loss_sum(qwen.forward(batch).hidden, batch);
  CHECK(loss.item<float>() == 0);
  loss.backward();
  CHECK(qwen.parameters().front().tensor.grad().abs().max().item<float>() == 0);
}

TEST_CASE("pixel_values without image_grid_thw, or the other way round, is refused by name",
          "[unit][fault]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 6);
  MicroBatch no_grid = small_batch({{{4, 4}}}, 3), no_pixels = no_grid;
  no_grid.grid_thw.reset();
  no_pixels.pixel_values.reset();
  CHECK_THROWS_WITH(qwen.forward(no_grid),
                    ContainsSubstring("pixel_values is given without image_grid_thw") &&
                        ContainsSubstring("together, or neither"));
  CHECK_THROWS_WITH(qwen.forward(no_pixels),
                    ContainsSubstring("image_grid_thw is given without pixel_values"));
  CHECK_THROWS_AS(qwen.generate(no_grid, {.max_new_tokens = 1}), DataError);
}

TEST_CASE("vision tensors of the wrong shape, and image tokens that do not match, are refused",
          "[unit][fault]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 6);
  const MicroBatch good = small_batch({{{4, 4}}}, 3);
  const auto with = [&](const at::Tensor& pixels) {
    MicroBatch batch = good;
    batch.pixel_values = pixels;
    return batch;
  };
  CHECK_THROWS_WITH(qwen.forward(with(at::zeros({16, 1, 1176}))),
                    ContainsSubstring("[16, 1, 1176]"));
  CHECK_THROWS_AS(qwen.forward(with(at::zeros({12, 1176}))), DataError);
  CHECK_THROWS_AS(qwen.forward(with(at::zeros({16, 588}))), DataError);
  CHECK_THROWS_WITH(qwen.forward(with(at::zeros({1, 3, 56, 84}))), ContainsSubstring("4-D"));
  MicroBatch cut = good;  // an image token less, and none at all
  cut.input_ids = good.input_ids.index_fill(0, at::tensor({1}, at::kLong), 7);
  CHECK_THROWS_WITH(qwen.forward(cut),
                    ContainsSubstring("image 0 has 4 merged tokens, the text 3"));
  cut.input_ids = at::zeros_like(good.input_ids);
  CHECK_THROWS_WITH(qwen.forward(cut), ContainsSubstring("1 images but image tokens for 0"));
}

TEST_CASE("raw bytes as pixels, and ids that are not int64, are refused at the door",
          "[unit][fault]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 5);
  MicroBatch batch = small_batch({{{8, 8}}}, 5);
  batch.pixel_values = batch.pixel_values.to(at::kByte);
  CHECK_THROWS_WITH(qwen.forward(batch), ContainsSubstring("pixel_values is Byte"));
  batch = small_batch({{{8, 8}}}, 5);
  batch.labels = batch.labels.to(at::kInt);
  CHECK_THROWS_WITH(qwen.forward(batch), ContainsSubstring("labels is Int"));
}

// Norms, rope of the vision tower, softmax and losses compute in fp32 in every policy, so both
// follow fp32 closely.
TEST_CASE("bf16 and fp16 compute what fp32 does, and give fp32 losses", "[unit]") {
  const MicroBatch batch = small_batch({{{8, 8}}, {}}, 5);
  const QwenVL exact = QwenVL::random(small_config(), {}, 6);
  const double expected = exact.lm_loss_sum(exact.forward(batch).hidden, batch).item<double>();
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    const QwenVL narrow = QwenVL::random(small_config(), {.dtype = dtype}, 6);
    const QwenOutput out = narrow.forward(batch);
    CHECK(out.hidden.scalar_type() == dtype);
    const at::Tensor loss = narrow.lm_loss_sum(out.hidden, batch);
    CHECK(loss.scalar_type() == at::kFloat);
    CHECK(std::abs(loss.item<double>() - expected) <
          (dtype == at::kHalf ? 0.005 : 0.03) * expected);
  }
}

TEST_CASE("4-D images equal the same images as patches", "[unit]") {
  const QwenConfig config = small_config();
  const QwenVL qwen = QwenVL::random(config, {}, 7);
  const at::Tensor images = at::randn({2, 3, 56, 84});
  // By the definition: row (merged row, merged column, inner row, inner column), column (channel,
  // frame, y, x).
  at::Tensor patches = at::empty({2 * 24, 1176});
  std::int64_t row = 0;
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t my = 0; my < 2; ++my)
      for (std::int64_t mx = 0; mx < 3; ++mx)
        for (std::int64_t inner = 0; inner < 4; ++inner) {
          const std::int64_t y = (my * 2 + inner / 2) * 14, x = (mx * 2 + inner % 2) * 14;
          const at::Tensor patch = images[n].narrow(1, y, 14).narrow(2, x, 14);
          patches[row++].copy_(at::stack({patch, patch}, 1).flatten());
        }
  CHECK(at::equal(patchify(images, config.vision), patches));
  const at::Tensor grid = at::tensor({1, 4, 6, 1, 4, 6}, at::kLong).view({2, 3});
  CHECK(at::equal(qwen.vision(images, grid).image_embeds, qwen.vision(patches, grid).image_embeds));
}

// Without blocks a patch is its pixels through one product, so that its place can be told. The
// windows of 4 x 4 patches make the tower visit the patches of 6 x 10 in another order.
TEST_CASE("patches before merging come row by row of each image", "[unit]") {
  QwenConfig config = small_config();
  config.vision.depth = 0;
  config.vision.window_size = 56;
  QwenOptions options;
  options.keep_patches = true;
  const QwenVL qwen = QwenVL::random(config, options, 7);
  const at::Tensor images = at::randn({2, 3, 84, 140});
  const at::Tensor grid = at::tensor({1, 6, 10, 1, 6, 10}, at::kLong).view({2, 3});
  at::Tensor weight;
  for (const NamedParam& p : qwen.parameters())
    if (p.name.starts_with("visual.patch_embed.")) weight = p.tensor.flatten(1);
  std::vector<at::Tensor> expected;
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t y = 0; y < 6; ++y)
      for (std::int64_t x = 0; x < 10; ++x) {
        const at::Tensor patch = images[n].narrow(1, 14 * y, 14).narrow(2, 14 * x, 14);
        expected.push_back(at::matmul(weight, at::stack({patch, patch}, 1).flatten()));
      }
  const QwenOutput seen = qwen.vision(images, grid);
  CHECK(at::allclose(seen.image_patches, at::stack(expected), 1e-4, 1e-5));
  CHECK_FALSE(QwenVL::random(config, {}, 7).vision(images, grid).image_patches.defined());
}

TEST_CASE("generation with a cache equals running everything again, and stops", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 8);
  MicroBatch prompt = small_batch({{{8, 4}}}, 5);
  at::Tensor step_logits;
  const auto ids = qwen.generate(prompt, {.max_new_tokens = 6}, &step_logits);
  REQUIRE(ids.size() == 6);
  const at::NoGradGuard off;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const at::Tensor last = qwen.logits(qwen.forward(prompt).hidden)[-1];
    CHECK(max_difference(last, step_logits[static_cast<std::int64_t>(i)]) < 1e-5);
    CHECK(last.argmax().item<std::int64_t>() == ids[i]);
    prompt.input_ids = at::cat({prompt.input_ids, at::tensor({ids[i]}, at::kLong)});
    prompt.cu_seqlens.back() += 1;
  }
  const std::vector<std::int64_t> stop{ids[2]};
  const auto stopped =
      qwen.generate(small_batch({{{8, 4}}}, 5), {.max_new_tokens = 6, .stop = stop});
  CHECK(stopped.back() == ids[2]);
  CHECK(stopped.size() <= 3);
}

TEST_CASE("the gate is called before every block, in forward order", "[unit]") {
  QwenVL qwen = QwenVL::random(small_config(), {}, 9);
  std::vector<std::string> calls;
  qwen.set_forward_gate([&](std::string_view prefix) { calls.emplace_back(prefix); });
  const MicroBatch batch = small_batch({{{4, 4}}}, 3);
  qwen.lm_loss_sum(qwen.forward(batch).hidden, batch);
  CHECK(calls == std::vector<std::string>{"visual.patch_embed.", "visual.blocks.0.",
                                          "visual.blocks.1.", "visual.blocks.2.", "visual.merger.",
                                          "model.embed_tokens.", "model.layers.0.",
                                          "model.layers.1.", "model.norm.", "lm_head."});
}

TEST_CASE("bf16 follows fp32, and cast() sends gradients back", "[unit]") {
  const QwenVL qwen = QwenVL::random(small_config(), {}, 10);
  train_all(qwen);
  const MicroBatch batch = small_batch({{{8, 8}}}, 6);
  const auto expected = gradients(qwen, batch);
  const at::Tensor hidden = qwen.forward(batch).hidden.detach();
  const QwenVL low = qwen.cast(at::kBFloat16), high = qwen.cast(at::kDouble);
  CHECK(low.forward(batch).hidden.scalar_type() == at::kBFloat16);
  CHECK(max_difference(low.forward(batch).hidden.to(at::kFloat), hidden) < 0.15);
  CHECK(max_difference(high.forward(batch).hidden, hidden) < 1e-5);
  CHECK(low.lm_loss_sum(low.forward(batch).hidden, batch).scalar_type() == at::kFloat);
  high.lm_loss_sum(high.forward(batch).hidden, batch).backward();
  const auto params = qwen.parameters();
  for (std::size_t i = 0; i < params.size(); ++i)
    CHECK(at::allclose(params[i].tensor.grad(), expected[i], 1e-3,
                       1e-4 * expected[i].abs().max().item<double>() + 1e-7));
}
