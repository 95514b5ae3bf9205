#include "model/qwen/rope.h"

#include <fmt/core.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/qwen/fused.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// out1 = x1 cos - x2 sin, out2 = x2 cos + x1 sin
at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                double direction) {
  if (fused_fits(x)) return fused_turn(x, cos, sin, direction);
  const std::int64_t half = x.size(-1) / 2;
  const at::Tensor x1 = x.narrow(-1, 0, half), x2 = x.narrow(-1, half, half);
  at::Tensor out = at::empty(x.sizes(), x.options());
  at::Tensor out1 = out.narrow(-1, 0, half), out2 = out.narrow(-1, half, half);
  at::mul_out(out1, x1, cos).addcmul_(x2, sin, -direction);
  at::mul_out(out2, x2, cos).addcmul_(x1, sin, direction);
  return out;
}

// A rotation's gradient is the rotation back; nothing of x is kept.
class RotateFunction : public torch::autograd::Function<RotateFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return turn(x, cos, sin, 1);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {turn(grads[0], saved[0], saved[1], -1), {}, {}};
  }
};

// theta^-(2i/dim) for i < dim/2, with transformers' fp32 arithmetic.
at::Tensor inverse_frequencies(double theta, std::int64_t dim) {
  const at::Tensor exponents =
      at::arange(0, dim, 2, at::kLong).to(at::kFloat) / static_cast<double>(dim);
  return 1.0 / at::pow(at::Scalar(theta), exponents);
}

Rotary from_angles(const at::Tensor& angles, at::ScalarType dtype,
                   at::Device device) {  // [tokens, head_dim / 2]
  const at::Tensor there = upload(angles, device);
  return {there.cos().to(dtype).unsqueeze(1), there.sin().to(dtype).unsqueeze(1)};
}

struct Grid {
  std::int64_t frames, rows, columns;  // in merged tokens
  std::int64_t frame_tokens() const { return rows * columns; }
};

std::vector<Grid> merged_grids(const at::Tensor& grid_thw, std::int64_t merge) {
  TORCH_CHECK(grid_thw.dim() == 2 && grid_thw.size(1) == 3, "image_grid_thw must be [images, 3]");
  const at::Tensor grid = grid_thw.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* g = grid.const_data_ptr<std::int64_t>();
  std::vector<Grid> grids;
  for (std::int64_t i = 0; i < grid.size(0); ++i, g += 3) {
    if (g[0] < 1 || g[1] < merge || g[2] < merge || g[1] % merge != 0 || g[2] % merge != 0)
      throw DataError(
          fmt::format("image {} of the batch: grid {} x {} x {} patches does not divide into {} x "
                      "{} merged tokens; "
                      "resize images with smart_resize",
                      i, g[0], g[1], g[2], merge, merge));
    grids.push_back({g[0], g[1] / merge, g[2] / merge});
  }
  return grids;
}

// Appends one frame's windows to the plan. `first` is the index of the frame's first merged token.
void add_windows(VisionPlan& plan, const Grid& grid, std::int64_t first, std::int64_t side,
                 std::int64_t merge_unit) {
  std::vector<std::vector<std::int64_t>> windows;
  for (std::int64_t y = 0; y < grid.rows; y += side)
    for (std::int64_t x = 0; x < grid.columns; x += side) {
      auto& window = windows.emplace_back();
      for (std::int64_t r = y; r < std::min(y + side, grid.rows); ++r)
        for (std::int64_t c = x; c < std::min(x + side, grid.columns); ++c)
          window.push_back(first + r * grid.columns + c);
    }
  std::stable_sort(windows.begin(), windows.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  for (const auto& window : windows) {
    plan.order.insert(plan.order.end(), window.begin(), window.end());
    plan.cu_windows.push_back(plan.cu_windows.back() +
                              static_cast<std::int64_t>(window.size()) * merge_unit);
  }
}

// Row and column of every patch, in the merged order of the pixel rows: merged row, merged column,
// inner row, inner column.
at::Tensor patch_coordinates(const std::vector<Grid>& grids,
                             std::int64_t merge) {  // [patches, 2] f32
  std::vector<float> coordinates;
  for (const Grid& grid : grids)
    for (std::int64_t token = 0; token < grid.frames * grid.frame_tokens(); ++token) {
      const std::int64_t in_frame = token % grid.frame_tokens();
      for (std::int64_t inner = 0; inner < merge * merge; ++inner) {
        coordinates.push_back(static_cast<float>(in_frame / grid.columns * merge + inner / merge));
        coordinates.push_back(static_cast<float>(in_frame % grid.columns * merge + inner % merge));
      }
    }
  return at::tensor(coordinates, at::kFloat).view({-1, 2});
}

// Half of a head's angles follow the row, half the column.
Rotary vision_rotary(const std::vector<Grid>& grids, const VisionPlan& plan,
                     const VisionConfig& config, at::ScalarType dtype, at::Device device) {
  const at::Tensor frequencies =
      inverse_frequencies(10000.0, config.head_dim() / 2);  // [head_dim / 4]
  const at::Tensor angles =
      patch_coordinates(grids, config.spatial_merge_size).unsqueeze(2) * frequencies;
  const at::Tensor groups =
      angles.reshape({-1, config.merge_unit(), config.head_dim() / 2});  // per merged token
  const at::Tensor visited =
      groups.index_select(0, at::tensor(plan.order, at::kLong)).flatten(0, 1);
  return from_angles(visited, wide_dtype(dtype), device);
}

}  // namespace

at::Tensor rotate(const at::Tensor& x, const Rotary& rotary) {
  const at::ScalarType type = rotary.cos.scalar_type();
  if (fused_fits(x) || x.scalar_type() == type)
    return RotateFunction::apply(x, rotary.cos, rotary.sin);
  return RotateFunction::apply(x.to(type), rotary.cos, rotary.sin).to(x.scalar_type());
}

namespace {

// Which row of the positions each frequency follows, [head_dim / 2].
std::vector<std::int64_t> mrope_rows(const std::vector<std::int64_t>& section, bool interleaved) {
  std::vector<std::int64_t> rows;
  for (std::size_t row = 0; row < section.size(); ++row)
    rows.insert(rows.end(), section[row], interleaved ? 0 : static_cast<std::int64_t>(row));
  if (!interleaved) return rows;
  for (std::size_t row = 1; row < section.size(); ++row)
    for (std::int64_t k = 0; k < section[row]; ++k)
      rows.at(row + 3 * k) = static_cast<std::int64_t>(row);
  return rows;
}

}  // namespace

Rotary text_rotary(const at::Tensor& position_ids, const TextConfig& config, bool interleaved,
                   at::ScalarType dtype, at::Device device) {
  const at::Tensor frequencies = inverse_frequencies(config.rope_theta, config.head_dim);
  const at::Tensor rows = at::tensor(mrope_rows(config.mrope_section, interleaved), at::kLong);
  const at::Tensor positions =
      position_ids.to(at::kFloat).index_select(0, rows).t();  // [tokens, head_dim / 2]
  return from_angles(positions * frequencies, dtype, device);
}

VisionPlan plan_vision(const at::Tensor& grid_thw, const VisionConfig& config, at::ScalarType dtype,
                       at::Device device) {
  const std::vector<Grid> grids = merged_grids(grid_thw, config.spatial_merge_size);
  const std::int64_t unit = config.patch_size * config.spatial_merge_size;
  VisionPlan plan;
  plan.cu_windows = plan.cu_frames = {0};
  std::int64_t first = 0;
  for (const Grid& grid : grids)
    for (std::int64_t frame = 0; frame < grid.frames; ++frame, first += grid.frame_tokens()) {
      const std::int64_t side =  // of a window, in merged tokens
          config.window_size > 0 ? config.window_size / unit : std::max(grid.rows, grid.columns);
      add_windows(plan, grid, first, side, config.merge_unit());
      plan.cu_frames.push_back(plan.cu_frames.back() + grid.frame_tokens() * config.merge_unit());
    }
  plan.in_order = std::is_sorted(plan.order.begin(), plan.order.end());
  plan.rotary = vision_rotary(grids, plan, config, dtype, device);
  return plan;
}

namespace {

// Writes one sample's positions and returns the next free position.
class PositionWriter {
 public:
  PositionWriter(std::int64_t* rows, std::int64_t stride) : rows_(rows), stride_(stride) {}
  std::int64_t next() const { return next_; }

  void text() {
    put(next_, next_, next_);
    ++next_;
  }
  // All frames of a still image share one time.
  void image(const Grid& grid) {
    for (std::int64_t frame = 0; frame < grid.frames; ++frame)
      for (std::int64_t y = 0; y < grid.rows; ++y)
        for (std::int64_t x = 0; x < grid.columns; ++x) put(next_, next_ + y, next_ + x);
    next_ += std::max(grid.rows, grid.columns);
  }

 private:
  void put(std::int64_t t, std::int64_t y, std::int64_t x) {
    rows_[at_] = t, rows_[stride_ + at_] = y, rows_[2 * stride_ + at_] = x;
    ++at_;
  }
  std::int64_t *rows_, stride_, at_ = 0, next_ = 0;
};

[[noreturn]] void mismatch(std::size_t sample, const std::string& what) {
  throw DataError(fmt::format(
      "sample {} of the batch: {}; each image needs one image token per merged token (t*h*w/4), so "
      "never cut a prompt through an image and expand the placeholder from the same grid",
      sample, what));
}

}  // namespace

RopeIndex rope_index(const at::Tensor& input_ids, std::span<const std::int64_t> cu_seqlens,
                     const at::Tensor& grid_thw, const QwenConfig& config) {
  const at::Tensor ids = input_ids.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* id = ids.const_data_ptr<std::int64_t>();
  const auto grids = grid_thw.defined() ? merged_grids(grid_thw, config.vision.spatial_merge_size)
                                        : std::vector<Grid>{};
  RopeIndex result{at::empty({3, ids.size(0)}, at::kLong), {}};
  std::size_t image = 0;
  for (std::size_t s = 0; s + 1 < cu_seqlens.size(); ++s) {
    const std::int64_t end = cu_seqlens[s + 1];
    PositionWriter writer(result.position_ids.mutable_data_ptr<std::int64_t>() + cu_seqlens[s],
                          ids.size(0));
    for (std::int64_t t = cu_seqlens[s]; t < end;) {
      if (id[t] != config.image_token_id) {
        writer.text(), ++t;
        continue;
      }
      if (image == grids.size())
        mismatch(s, fmt::format("image tokens at {} but only {} images", t, grids.size()));
      const std::int64_t tokens = grids[image].frames * grids[image].frame_tokens();
      const std::int64_t run =
          std::find_if(id + t, id + end, [&](auto x) { return x != config.image_token_id; }) -
          (id + t);
      if (run < tokens)
        mismatch(s, fmt::format("image {} has {} merged tokens, the text {} image tokens", image,
                                tokens, run));
      writer.image(grids[image++]);
      t += tokens;
    }
    result.deltas.push_back(writer.next() - (end - cu_seqlens[s]));
  }
  if (image != grids.size())
    mismatch(cu_seqlens.size() - 2,
             fmt::format("{} images but image tokens for {}", grids.size(), image));
  return result;
}

}  // namespace muster::model
