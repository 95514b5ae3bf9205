#include "model/qwen/softmax_rows.h"

#include <ATen/Parallel.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/vectorize.h"  // last: sets how the loops below are compiled

namespace muster::model {
namespace {

// Independent accumulators, which the compiler may keep in vectors, in this order.
constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kBlock = 2048;  // elements summed in fp32 before the sum goes on in fp64

MUSTER_INLINE float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

MUSTER_INLINE std::uint16_t to_bf16(float x) {  // nearest, ties to even; NaN stays NaN
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<std::uint16_t>(x == x ? rounded : 0x7fc0u);
}

// These map floats to integers of the same order, and back. Integer comparisons vectorise; those of
// floats do not, for the sake of NaN and -0.
MUSTER_INLINE std::int32_t ordered(std::int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
MUSTER_INLINE std::int32_t key_of(float x) { return ordered(std::bit_cast<std::int32_t>(x)); }
MUSTER_INLINE float of_key(std::int32_t key) { return std::bit_cast<float>(ordered(key)); }

// exp(x) for finite x <= 0 to about 1e-7 relative, at least 2^-126: x = n ln 2 + r with |r| <= ln 2
// / 2, a polynomial for exp(r) (S. Moshier, Cephes expf), and n straight into the exponent. Without
// a branch, so that loops vectorise.
MUSTER_INLINE float exp_of_negative(float x) {
  // 1.5 * 2^23: adding it rounds to an integer that stands in the low bits.
  constexpr float kRound = 12582912.0f;
  const std::int32_t key = key_of(x);
  const std::int32_t least = key_of(-87.0f);
  const float bounded = of_key(key < least ? least : key);
  const float shifted = bounded * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const std::uint32_t exponent =
      std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound) + 127u;
  return (p * r * r + r + 1.0f) * std::bit_cast<float>(exponent << 23);
}

// Returns the largest element; NaN when one is not finite.
MUSTER_INLINE float largest_of(const float* x, std::int64_t n) {
  constexpr std::int32_t kInfinity = 0x7f800000;
  std::int32_t largest = std::numeric_limits<std::int32_t>::min(), magnitude = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t key = key_of(x[i]);
    const std::int32_t size = std::bit_cast<std::int32_t>(x[i]) & 0x7fffffff;
    largest = largest < key ? key : largest;
    magnitude = magnitude < size ? size : magnitude;
  }
  return magnitude < kInfinity ? of_key(largest) : std::numeric_limits<float>::quiet_NaN();
}

MUSTER_INLINE float exponentiate_block(float* x, std::int64_t n, float largest) {
  for (std::int64_t i = 0; i < n; ++i) x[i] = exp_of_negative(x[i] - largest);
  std::array<float, kLanes> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane];
  for (; i < n; ++i) lanes[0] += x[i];
  return std::accumulate(lanes.begin(), lanes.end(), 0.0f);
}

// x[i] becomes exp(x[i] - largest); returns their sum.
MUSTER_INLINE double exponentiate(float* x, std::int64_t n, float largest) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += kBlock)
    sum += exponentiate_block(x + i, std::min(kBlock, n - i), largest);
  return sum;
}

MUSTER_INLINE double row_body(float* x, std::int64_t n, std::int64_t label, bool want_grad) {
  const float largest = largest_of(x, n), picked = x[label];
  if (largest != largest) {
    for (std::int64_t i = 0; i < n; ++i) x[i] = largest;
    return std::numeric_limits<double>::quiet_NaN();
  }
  const double sum = exponentiate(x, n, largest);
  if (want_grad) {
    const auto scale = static_cast<float>(1 / sum);
    for (std::int64_t i = 0; i < n; ++i) x[i] *= scale;
    x[label] -= 1.0f;
  }
  return std::log(sum) + largest - picked;
}

MUSTER_INLINE double bf16_body(std::uint16_t* x, float* wide, std::int64_t n, std::int64_t label,
                               bool want_grad) {
  for (std::int64_t i = 0; i < n; ++i) wide[i] = from_bf16(x[i]);
  const double loss = row_body(wide, n, label, want_grad);
  if (want_grad)
    for (std::int64_t i = 0; i < n; ++i) x[i] = to_bf16(wide[i]);
  return loss;
}

double row_plain(float* x, std::int64_t n, std::int64_t label, bool want_grad) {
  return row_body(x, n, label, want_grad);
}
MUSTER_AVX2 double row_avx2(float* x, std::int64_t n, std::int64_t label, bool want_grad) {
  return row_body(x, n, label, want_grad);
}
MUSTER_AVX512 double row_avx512(float* x, std::int64_t n, std::int64_t label, bool want_grad) {
  return row_body(x, n, label, want_grad);
}
double bf16_plain(std::uint16_t* x, float* wide, std::int64_t n, std::int64_t label,
                  bool want_grad) {
  return bf16_body(x, wide, n, label, want_grad);
}
MUSTER_AVX2 double bf16_avx2(std::uint16_t* x, float* wide, std::int64_t n, std::int64_t label,
                             bool want_grad) {
  return bf16_body(x, wide, n, label, want_grad);
}
MUSTER_AVX512 double bf16_avx512(std::uint16_t* x, float* wide, std::int64_t n, std::int64_t label,
                                 bool want_grad) {
  return bf16_body(x, wide, n, label, want_grad);
}

// The one of the widest vectors that this processor has.
template <typename Function>
Function* widest(Function* avx512, Function* avx2, Function* plain) {
  if (cpu_has_avx512()) return avx512;
  return cpu_has_avx2() ? avx2 : plain;
}

}  // namespace

bool softmax_rows_fit(const at::Tensor& logits) {
  return logits.is_cpu() && logits.is_contiguous() &&
         (logits.scalar_type() == at::kFloat || logits.scalar_type() == at::kBFloat16);
}

double softmax_rows_(at::Tensor& logits, const at::Tensor& labels, bool want_grad) {
  TORCH_CHECK(softmax_rows_fit(logits) && labels.is_cpu() && labels.is_contiguous() &&
                  labels.size(0) == logits.size(0),
              "softmax_rows_: needs contiguous fp32 or bf16 logits and labels on the CPU");
  const std::int64_t rows = logits.size(0), vocab = logits.size(1);
  const std::int64_t* label = labels.const_data_ptr<std::int64_t>();
  const bool narrow = logits.scalar_type() == at::kBFloat16;
  const auto row_of = widest(row_avx512, row_avx2, row_plain);
  const auto bf16_of = widest(bf16_avx512, bf16_avx2, bf16_plain);
  void* data = logits.mutable_data_ptr();
  std::vector<double> losses(rows);
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> wide(narrow ? vocab : 0);
    for (std::int64_t row = begin; row < end; ++row) {
      if (narrow) {
        losses[row] = bf16_of(static_cast<std::uint16_t*>(data) + row * vocab, wide.data(), vocab,
                              label[row], want_grad);
      } else {
        losses[row] = row_of(static_cast<float*>(data) + row * vocab, vocab, label[row], want_grad);
      }
    }
  });
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace muster::model
