// Positions and the order of patches: rotary, vision_plan and rope_index.
#include "model/qwen/rope_index.h"
#include "model/qwen/rotary.h"
#include "model/qwen/vision_plan.h"

#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "model/qwen/small_model.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;

TEST_CASE("positions of text, image, text, image", "[unit]") {
  const MicroBatch batch = small_batch({{{4, 8}, {4, 4}}, {}}, 2);
  const RopeIndex rope =
      rope_index(batch.input_ids, batch.cu_seqlens, batch.grid_thw, small_config());
  const auto row = [&](std::int64_t r) {
    const at::Tensor values = rope.position_ids[r].contiguous();
    return std::vector<std::int64_t>(values.const_data_ptr<std::int64_t>(),
                                     values.const_data_ptr<std::int64_t>() + values.numel());
  };
  // start, 2 x 4 merged tokens at 1, end at 1 + 4, start, 2 x 2 at 7, end at 9, text 10 11; then
  // the next sample from 0.
  CHECK(row(0) ==
        std::vector<std::int64_t>{0, 1, 1, 1, 1, 1, 1, 1, 1, 5, 6, 7, 7, 7, 7, 9, 10, 11, 0, 1});
  CHECK(row(1) ==
        std::vector<std::int64_t>{0, 1, 1, 1, 1, 2, 2, 2, 2, 5, 6, 7, 7, 8, 8, 9, 10, 11, 0, 1});
  CHECK(row(2) ==
        std::vector<std::int64_t>{0, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 7, 8, 9, 10, 11, 0, 1});
  CHECK(rope.deltas == std::vector<std::int64_t>{12 - 18, 0});
}

// transformers' slices [row : 3 * section[row] : 3] stop at the head's width: sections that reach
// over it, as 4.57's default over a narrow head, are cut. With theta 1 the angle is the position.
TEST_CASE("interleaved sections are cut at the width of the head", "[unit]") {
  TextConfig config = small_config().text;
  config.rope_theta = 1;
  config.head_dim = 16;
  const at::Tensor positions = at::tensor({0.1, 0.2, 0.3}, at::kFloat).view({3, 1});
  const auto rows = [&](const std::vector<std::int64_t>& section) {
    config.mrope_section = section;
    const at::Tensor angles =
        text_rotary(positions, config, /*interleaved=*/true, at::kFloat, at::kCPU).sin.asin();
    const at::Tensor row = (angles * 10).round().to(at::kLong).flatten().contiguous() - 1;
    return std::vector<std::int64_t>(row.const_data_ptr<std::int64_t>(),
                                     row.const_data_ptr<std::int64_t>() + row.numel());
  };
  CHECK(rows({4, 2, 2}) == std::vector<std::int64_t>{0, 1, 2, 0, 1, 2, 0, 0});
  CHECK(rows({2, 3, 3}) == std::vector<std::int64_t>{0, 1, 2, 0, 1, 2, 0, 1});
  CHECK(rows({24, 20, 20}) == std::vector<std::int64_t>{0, 1, 2, 0, 1, 2, 0, 1});
}

TEST_CASE("the vision plan covers every merged token once, in whole windows first", "[unit]") {
  const VisionConfig config = small_config().vision;
  // 20 x 12 patches are 10 x 6 merged tokens: windows of 4 x 4 give 3 x 2, two of them whole. 8 x 8
  // is one window.
  const VisionPlan plan = plan_vision(at::tensor({1, 20, 12, 1, 8, 8}, at::kLong).view({2, 3}),
                                      config, at::kFloat, at::kCPU);
  CHECK(plan.cu_frames == std::vector<std::int64_t>{0, 240, 304});
  CHECK(plan.cu_windows == std::vector<std::int64_t>{0, 64, 128, 160, 192, 224, 240, 304});
  std::vector<std::int64_t> sorted = plan.order;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i)
    REQUIRE(sorted[i] == static_cast<std::int64_t>(i));
  CHECK(std::vector<std::int64_t>(plan.order.begin(), plan.order.begin() + 6) ==
        std::vector<std::int64_t>{0, 1, 2, 3, 6, 7});
  CHECK_FALSE(plan.in_order);
  CHECK(plan_vision(at::tensor({1, 8, 8}, at::kLong).view({1, 3}), config, at::kFloat, at::kCPU)
            .in_order);
}

TEST_CASE("rotate turns pairs by their angles and its gradient turns back", "[unit]") {
  const at::Tensor angles = at::randn({5, 4}, at::kDouble),
                   x = at::randn({5, 3, 8}, at::kDouble).requires_grad_();
  const Rotary rotary{angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)};
  const at::Tensor y = rotate(x, rotary), weights = at::randn_like(y);
  (y * weights).sum().backward();
  const at::Tensor z = at::complex(x.detach().narrow(2, 0, 4), x.detach().narrow(2, 4, 4)) *
                       at::complex(rotary.cos, rotary.sin);
  CHECK(at::allclose(y, at::cat({at::real(z), at::imag(z)}, 2)));
  const at::Tensor back = at::complex(weights.narrow(2, 0, 4), weights.narrow(2, 4, 4)) *
                          at::complex(rotary.cos, -rotary.sin);
  CHECK(at::allclose(x.grad(), at::cat({at::real(back), at::imag(back)}, 2)));
}
