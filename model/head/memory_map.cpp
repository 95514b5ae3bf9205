#include "model/head/memory_map.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "model/qwen/upload.h"

namespace muster::model {
namespace {

void check_one_frame(const TokenLayout& layout) {
  for (std::int64_t i = 0; i < layout.images(); ++i) {
    const std::int64_t frame = layout.rows[i] * layout.columns[i];
    if (layout.counts[i] == frame) continue;
    throw DataError(fmt::format(
        "image {} of the batch has {} frames: a detection head with a neck or attention to boxes "
        "reads still pictures",
        i, layout.counts[i] / frame));
  }
}

}  // namespace

MemoryMap::MemoryMap(const TokenLayout& layout, at::Device device)
    : images_(layout.images()),
      rows_(*std::ranges::max_element(layout.rows)),
      columns_(*std::ranges::max_element(layout.columns)),
      width_(layout.width) {
  check_one_frame(layout);
  std::vector<float> sides;
  std::vector<std::int64_t> token_of_cell(images_ * rows_ * columns_, 0);
  std::vector<std::int64_t> cell_of_token(images_ * width_, 0);
  std::vector<float> inside(token_of_cell.size(), 0);
  for (std::int64_t image = 0; image < images_; ++image) {
    sides.push_back(static_cast<float>(layout.columns[image]));
    sides.push_back(static_cast<float>(layout.rows[image]));
    for (std::int64_t i = 0; i < layout.counts[image]; ++i) {
      const std::int64_t row = i / layout.columns[image], column = i % layout.columns[image];
      const std::int64_t cell = (image * rows_ + row) * columns_ + column;
      token_of_cell[cell] = image * width_ + i;
      cell_of_token[image * width_ + i] = cell;
      inside[cell] = 1;
    }
  }
  sides_ = upload(at::tensor(sides).view({images_, 1, 2}), device);
  if (std::ranges::find(inside, 0.0f) == inside.end()) return;
  token_of_cell_ = upload(token_of_cell, device);
  cell_of_token_ = upload(cell_of_token, device);
  inside_ = upload(at::tensor(inside).view({images_, rows_, columns_, 1}), device);
}

at::Tensor MemoryMap::spread(const at::Tensor& tokens) const {
  const std::vector<std::int64_t> shape{images_, rows_, columns_, tokens.size(2)};
  if (!token_of_cell_.defined()) return tokens.reshape(shape);
  const at::Tensor map = tokens.flatten(0, 1).index_select(0, token_of_cell_).view(shape);
  return map * inside_.to(map.scalar_type());
}

at::Tensor MemoryMap::collect(const at::Tensor& map) const {
  const at::Tensor flat = map.reshape({-1, map.size(3)});
  if (!cell_of_token_.defined()) return flat.view({images_, width_, map.size(3)});
  return flat.index_select(0, cell_of_token_).view({images_, width_, map.size(3)});
}

// The four cells around each point are (low, low), (high, low), (low, high), (high, high) in x, y.
MapPoints MemoryMap::at(const at::Tensor& points) const {
  const std::vector<std::int64_t> shape{-1, points.size(2), 4};
  const at::Tensor last = sides_ - 1;
  const at::Tensor zero = at::zeros({}, points.options());
  // In cells. A box that is not a number reads some cell; its loss is not a number either (law 10).
  const at::Tensor place = at::minimum(
      at::maximum((points.detach().flatten(1, 2) * sides_ - 0.5).nan_to_num(0), zero), last);
  const at::Tensor low = place.floor();
  const at::Tensor high = at::minimum(low + 1, last);
  const at::Tensor share = place - low;  // of the higher cell, for x and y
  const auto both = [&](std::int64_t axis) {
    return at::stack({low.select(-1, axis), high.select(-1, axis)}, -1).to(at::kLong);
  };
  const at::Tensor first =
      at::arange(images_, points.options().dtype(at::kLong)).view({images_, 1, 1, 1}) * rows_;
  const at::Tensor cells =
      (first + both(1).unsqueeze(-1)) * columns_ + both(0).unsqueeze(-2);  // [images, n, y, x]
  const auto shares = [&](std::int64_t axis) {
    const at::Tensor upper = share.select(-1, axis);
    return at::stack({1 - upper, upper}, -1);
  };
  const at::Tensor weights = shares(1).unsqueeze(-1) * shares(0).unsqueeze(-2);
  return {cells.view(shape), weights.view(shape)};
}

}  // namespace muster::model
