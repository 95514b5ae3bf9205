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

// The text goes on with `rest`, which starts with an image token: are there enough for the image?
void check_image(std::span<const std::int64_t> rest, std::int64_t image_token,
                 const std::vector<MergedGrid>& grids, std::size_t image, std::size_t sample,
                 std::int64_t at) {
  if (image == grids.size())
    mismatch(sample, fmt::format("image tokens at {} but only {} images", at, grids.size()));
  const std::int64_t tokens = grids[image].tokens();
  const auto run_end =
      std::find_if(rest.begin(), rest.end(), [&](auto id) { return id != image_token; });
  const std::int64_t run = run_end - rest.begin();
  if (run < tokens)
    mismatch(sample, fmt::format("image {} has {} merged tokens, the text {} image tokens", image,
                                 tokens, run));
}

}  // namespace

RopeIndex rope_index(const at::Tensor& input_ids, std::span<const std::int64_t> cu_seqlens,
                     const at::Tensor& grid_thw, const QwenConfig& config) {
  const at::Tensor ids = input_ids.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* id = ids.const_data_ptr<std::int64_t>();
  const auto grids = grid_thw.defined() ? merged_grids(grid_thw, config.vision.spatial_merge_size)
                                        : std::vector<MergedGrid>{};
  RopeIndex result{at::empty({3, ids.size(0)}, at::kLong), {}};
  std::size_t image = 0;  // the next one, over all samples
  for (std::size_t s = 0; s + 1 < cu_seqlens.size(); ++s) {
    const std::int64_t begin = cu_seqlens[s];
    const std::int64_t end = cu_seqlens[s + 1];
    PositionWriter writer(result.position_ids.mutable_data_ptr<std::int64_t>() + begin,
                          ids.size(0));
    // At the loop's entry the sample's tokens before t have positions.
    for (std::int64_t t = begin; t < end;) {
      if (id[t] != config.image_token_id) {
        writer.text();
        ++t;
        continue;
      }
      check_image({id + t, id + end}, config.image_token_id, grids, image, s, t);
      writer.image(grids[image]);
      t += grids[image].tokens();
      ++image;
    }
    result.deltas.push_back(writer.next() - (end - begin));
  }
  if (image != grids.size())
    mismatch(cu_seqlens.size() - 2,
             fmt::format("{} images but image tokens for {}", grids.size(), image));
  return result;
}

}  // namespace muster::model
