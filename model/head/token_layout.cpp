#include "model/head/token_layout.h"

#include <algorithm>
#include <limits>

#include "model/qwen/upload.h"

namespace muster::model {
namespace {

// The side of the box a token starts from: so many cells, but not more of the image.
constexpr float kAnchorCells = 2;
constexpr float kLargestAnchor = 0.5f;

}  // namespace

TokenLayout token_layout(const at::Tensor& grid_thw, std::int64_t merge_size) {
  TokenLayout layout;
  const at::Tensor grid = grid_thw.cpu().contiguous();
  const std::int64_t* thw = grid.const_data_ptr<std::int64_t>();
  for (std::int64_t image = 0; image < grid.size(0); ++image, thw += 3) {
    layout.rows.push_back(thw[1] / merge_size);
    layout.columns.push_back(thw[2] / merge_size);
    layout.counts.push_back(thw[0] * layout.rows.back() * layout.columns.back());
    layout.width = std::max(layout.width, layout.counts.back());
  }
  return layout;
}

std::int64_t TokenLayout::token_at(std::int64_t image, float x, float y) const {
  const auto cell = [](float at, std::int64_t cells) {
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(at * static_cast<float>(cells)), 0,
                                    cells - 1);
  };
  return cell(y, rows[image]) * columns[image] + cell(x, columns[image]);
}

at::Tensor TokenLayout::pad(const at::Tensor& tokens) const {
  if (images() * width == tokens.size(0)) return tokens.view({images(), width, tokens.size(1)});
  std::vector<std::int64_t> index(images() * width, 0);  // padding is token 0: nobody looks at it
  for (std::int64_t image = 0, token = 0; image < images(); ++image) {
    for (std::int64_t i = 0; i < counts[image]; ++i) index[image * width + i] = token++;
  }
  return tokens.index_select(0, upload(index, tokens.device()))
      .view({images(), width, tokens.size(1)});
}

at::Tensor TokenLayout::centres() const {
  at::Tensor centres = at::full({images(), width, 2}, 0.5f);
  float* out = centres.mutable_data_ptr<float>();
  for (std::int64_t image = 0; image < images(); ++image) {
    for (std::int64_t i = 0; i < counts[image]; ++i) {
      const std::int64_t row = i / columns[image] % rows[image], column = i % columns[image];
      out[2 * (image * width + i)] =
          (static_cast<float>(column) + 0.5f) / static_cast<float>(columns[image]);
      out[2 * (image * width + i) + 1] =
          (static_cast<float>(row) + 0.5f) / static_cast<float>(rows[image]);
    }
  }
  return centres;
}

at::Tensor TokenLayout::anchors() const {
  at::Tensor sides = at::empty({images(), width, 2});
  for (std::int64_t image = 0; image < images(); ++image) {
    sides[image].select(-1, 0).fill_(
        std::min(kAnchorCells / static_cast<float>(columns[image]), kLargestAnchor));
    sides[image].select(-1, 1).fill_(
        std::min(kAnchorCells / static_cast<float>(rows[image]), kLargestAnchor));
  }
  return at::cat({centres(), sides}, -1);
}

at::Tensor TokenLayout::key_mask() const {
  if (std::all_of(counts.begin(), counts.end(), [&](std::int64_t count) { return count == width; }))
    return {};
  at::Tensor mask = at::zeros({images(), 1, 1, width});
  for (std::int64_t image = 0; image < images(); ++image) {
    mask[image]
        .narrow(-1, counts[image], width - counts[image])
        .fill_(-std::numeric_limits<float>::infinity());
  }
  return mask;
}

}  // namespace muster::model
