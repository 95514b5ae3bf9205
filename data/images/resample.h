// The two passes of resize_bicubic. Each has the same bits whatever the instruction set: sums of
// products of integers, rounded once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace muster::data {

constexpr int kPrecisionBits = 32 - 8 - 2;  // 8 bits of pixel, 2 of headroom for overshoot
constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);

// For each output position: the first input position and the weights, padded with zeros to `taps`.
struct ResampleWeights {
  std::int64_t taps = 0;
  std::vector<std::int64_t> first;  // [out], never falls
  std::vector<std::int64_t> count;  // [out], at most taps
  std::vector<std::int32_t> fixed;  // [out, taps], 22 bits after the point
  std::int64_t size() const { return static_cast<std::int64_t>(first.size()); }
};

ResampleWeights resample_weights(std::int64_t in, std::int64_t out);

// Pixels in memory, [height, width, 3].
struct Raster {
  const std::uint8_t* rgb = nullptr;
  std::int64_t width = 0, height = 0;
  std::int64_t stride() const { return 3 * width; }
};

enum class ResampleIsa : std::uint8_t { kBaseline, kAvx2, kAvx512 };
bool cpu_has(ResampleIsa isa);
ResampleIsa best_resample_isa();

// `out` is [in.height, weights.size(), 3].
void resample_rows(const Raster& in, const ResampleWeights& weights, std::uint8_t* out,
                   ResampleIsa isa);
// `out` is [weights.size(), in.width, 3].
void resample_columns(const Raster& in, const ResampleWeights& weights, std::uint8_t* out,
                      ResampleIsa isa);

// The same with AVX2's products of 16-bit pairs. The second returns false, and has written nothing,
// for narrow pictures.
void resample_rows_avx2(const Raster& in, const ResampleWeights& weights, std::uint8_t* out);
bool resample_columns_avx2(const Raster& in, const ResampleWeights& weights, std::uint8_t* out);

// The same with AVX-512's products of bytes (VNNI, VBMI). They return false, and have written
// nothing, for weights or widths that do not suit them.
bool has_byte_products();
bool resample_rows_avx512(const Raster& in, const ResampleWeights& weights, std::uint8_t* out);
bool resample_columns_avx512(const Raster& in, const ResampleWeights& weights, std::uint8_t* out);

}  // namespace muster::data
