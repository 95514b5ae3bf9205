#include "model/qwen/rope_index.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "model/qwen/merged_grid.h"

namespace muster::model {
namespace {

// Writes one sample's positions and knows the next free one.
class PositionWriter {
 public:
  PositionWriter(std::int64_t* rows, std::int64_t stride) : rows_(rows), stride_(stride) {}
  std::int64_t next() const { return next_; }

  void text() {
    put(next_, next_, next_);
    ++next_;
  }
  // All frames of a still image share one time.
  void image(const MergedGrid& grid) {
    for (std::int64_t frame = 0; frame < grid.frames; ++frame)
      for (std::int64_t y = 0; y < grid.rows; ++y)
        for (std::int64_t x = 0; x < grid.columns; ++x) put(next_, next_ + y, next_ + x);
    next_ += std::max(grid.rows, grid.columns);
  }

 private:
  void put(std::int64_t t, std::int64_t y, std::int64_t x) {
    rows_[at_] = t;
    rows_[stride_ + at_] = y;
    rows_[2 * stride_ + at_] = x;
    ++at_;
  }
  std::int64_t* rows_;  // of the sample's first token; the three rows lie `stride_` apart
  std::int64_t stride_;
  std::int64_t at_ = 0;    // tokens written
  std::int64_t next_ = 0;  // the next free position
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
                                        : std::vector<MergedGrid>{};
  RopeIndex result{at::empty({3, ids.size(0)}, at::kLong), {}};
  std::size_t image = 0;
  for (std::size_t s = 0; s + 1 < cu_seqlens.size(); ++s) {
    const std::int64_t end = cu_seqlens[s + 1];
    PositionWriter writer(result.position_ids.mutable_data_ptr<std::int64_t>() + cu_seqlens[s],
                          ids.size(0));
    for (std::int64_t t = cu_seqlens[s]; t < end;) {
      if (id[t] != config.image_token_id) {
        writer.text();
        ++t;
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
