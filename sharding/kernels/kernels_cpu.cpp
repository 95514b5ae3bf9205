#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <vector>

#include "base/vectorize.h"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/float16_bits.h"
#include "sharding/kernels/fused_adamw.h"
#include "sharding/kernels/kernels.h"
#include "sharding/kernels/squares_cpu.h"

namespace muster::sharding {
namespace {

constexpr std::int64_t kGrain = 64;  // blocks per parallel task

template <typename T>
T* data_of(const at::Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

// Calls body with a pointer of the tensor's element type: fp32 or bf16, the types of a wire.
template <typename Body>
void with_type(const at::Tensor& t, Body body) {
  if (t.scalar_type() == at::kFloat)
    body(data_of<float>(t));
  else
    body(data_of<Bf16Bits>(t));
}
template <typename Body>
void with_gradient_type(const at::Tensor& t, Body body) {
  if (t.scalar_type() == at::kHalf)
    body(data_of<Fp16Bits>(t));
  else
    with_type(t, body);
}

// Returns whether every stored value is finite.
template <typename Wire, typename Gradient>
MUSTER_INLINE bool copy_cast(Wire* __restrict wire, const Gradient* __restrict gradient,
                             std::int64_t count, bool add) {
  std::uint32_t largest = 0;  // magnitude bits: infinity and NaN compare above every finite value
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = add ? to_float(wire[i]) + to_float(gradient[i]) : to_float(gradient[i]);
    const Wire rounded = from_float<Wire>(value);
    const std::uint32_t magnitude =
        __builtin_bit_cast(std::uint32_t, to_float(rounded)) & 0x7fffffffU;
    largest = magnitude > largest ? magnitude : largest;
    wire[i] = rounded;
  }
  return largest < 0x7f800000U;
}

template <typename Wire>
MUSTER_INLINE void add_rank(float* __restrict acc, const Wire* __restrict wire,
                            std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) acc[i] += to_float(wire[i]);
}
// These write the first ranks onto zeros: acc is not read. 0 + x is x, but for a negative zero.
template <typename Wire>
MUSTER_INLINE void set_to_first(float* __restrict acc, const Wire* __restrict first,
                                std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) acc[i] = 0.0f + to_float(first[i]);
}
template <typename Wire>
MUSTER_INLINE void set_to_two(float* __restrict acc, const Wire* __restrict first,
                              const Wire* __restrict second, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    acc[i] = (0.0f + to_float(first[i])) + to_float(second[i]);
}

// Adds ranks in order, in blocks that stay in the first-level cache. At the inner loop's entry the
// block holds acc + rows[0] + ... + rows[next - 1].
template <typename Wire>
void add_ranks(Rows rows, float* acc, std::int64_t count, bool fresh) {
  constexpr std::int64_t kCacheBlock = 4096;
  const auto row = [&](std::size_t r) { return reinterpret_cast<const Wire*>(rows[r]); };
  for (std::int64_t begin = 0; begin < count; begin += kCacheBlock) {
    const std::int64_t n = std::min(kCacheBlock, count - begin);
    std::size_t next = 0;
    if (fresh && rows.size() > 1) {
      set_to_two(acc + begin, row(0) + begin, row(1) + begin, n);
      next = 2;
    } else if (fresh) {
      set_to_first(acc + begin, row(0) + begin, n);
      next = 1;
    }
    for (; next < rows.size(); ++next) add_rank(acc + begin, row(next) + begin, n);
  }
}

constexpr std::int64_t kTreeBlock = 1024;  // elements; with those of every level in the cache

// sum = the rows' tree, from element `begin` on; `spare` has a block for each level below. A zero
// is +0 whatever the signs of the rows' zeros, so that it does not matter how many were added at
// once.
template <typename Wire>
void sum_tree(Rows rows, std::int64_t begin, std::int64_t count, float* sum, float* spare) {
  const auto row = [&](std::size_t r) { return reinterpret_cast<const Wire*>(rows[r]) + begin; };
  if (rows.size() == 1) return set_to_first(sum, row(0), count);
  if (rows.size() == 2) return set_to_two(sum, row(0), row(1), count);
  const std::size_t half = rows.size() / 2;
  sum_tree<Wire>(rows.first(half), begin, count, sum, spare);
  sum_tree<Wire>(rows.last(half), begin, count, spare, spare + kTreeBlock);
  add_rank(sum, spare, count);
}

template <typename Wire>
void add_rows_tree(Rows rows, float* acc, std::int64_t count, bool fresh) {
  const auto levels = static_cast<std::size_t>(std::bit_width(rows.size()));
  std::vector<float> spare(levels * kTreeBlock);
  for (std::int64_t begin = 0; begin < count; begin += kTreeBlock) {
    const std::int64_t n = std::min(kTreeBlock, count - begin);
    if (fresh) {
      sum_tree<Wire>(rows, begin, n, acc + begin, spare.data());
      continue;
    }
    sum_tree<Wire>(rows, begin, n, spare.data(), spare.data() + kTreeBlock);
    add_rank(acc + begin, spare.data(), n);
  }
}

void add_update_squares(UpdateSquares& squares, const at::Tensor& sums) {
  ExactSum::normalize(squares.weights);
  ExactSum::normalize(squares.changes);
  auto* to = data_of<std::int64_t>(sums);
  for (std::size_t i = 0; i < ExactSum::kLimbs; ++i) {
    to[i] += squares.weights[i];
    to[ExactSum::kLimbs + i] += squares.changes[i];
  }
}

class CpuKernels final : public Kernels {
 public:
  void to_wire(const at::Tensor& gradient, const at::Tensor& wire, bool add,
               const at::Tensor& nonfinite) override {
    bool finite = true;
    with_type(wire, [&](auto* to) {
      with_gradient_type(
          gradient, [&](const auto* from) { finite = copy_cast(to, from, wire.numel(), add); });
    });
    if (!finite) *data_of<std::uint8_t>(nonfinite) = 1;
  }

  void accumulate(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) override {
    if (type == at::kFloat)
      add_ranks<float>(rows, data_of<float>(acc), acc.numel(), fresh);
    else
      add_ranks<Bf16Bits>(rows, data_of<float>(acc), acc.numel(), fresh);
  }

  void add_tree(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) override {
    if (type == at::kFloat)
      add_rows_tree<float>(rows, data_of<float>(acc), acc.numel(), fresh);
    else
      add_rows_tree<Bf16Bits>(rows, data_of<float>(acc), acc.numel(), fresh);
  }

  void add_squares(const at::Tensor& values, const at::Tensor& limbs,
                   const at::Tensor& nonfinite) override {
    const std::span<std::int64_t, ExactSum::kLimbs> sum(data_of<std::int64_t>(limbs),
                                                        ExactSum::kLimbs);
    if (!add_squares_cpu(data_of<float>(values), values.numel(), sum, isa_))
      *data_of<std::uint8_t>(nonfinite) = 1;
    ExactSum::normalize(sum);
  }

  // Tasks hold whole blocks: where one ends changes no sum.
  void adamw(const AdamWRun& run) override {
    const AdamWFactors factors = adamw_factors(run);
    const AdamWSpans spans = adamw_spans(run);
    std::mutex mutex;
    const std::int64_t blocks = (spans.count + kAdamWBlock - 1) / kAdamWBlock;
    at::parallel_for(0, blocks, kGrain, [&](std::int64_t first, std::int64_t last) {
      const std::int64_t begin = first * kAdamWBlock;
      const std::int64_t end = std::min(spans.count, last * kAdamWBlock);
      if (!run.squares.defined()) return adamw_cpu(spans, begin, end, factors, isa_);
      UpdateSquares squares;
      adamw_cpu(spans, begin, end, factors, isa_, &squares);
      const std::lock_guard lock(mutex);
      add_update_squares(squares, run.squares);
    });
  }

  at::Tensor host_zeros(std::int64_t elements, at::ScalarType type) override {
    return at::zeros({elements}, type);
  }

 private:
  const CpuIsa isa_ = best_cpu_isa();
};

}  // namespace

std::unique_ptr<Kernels> make_cpu_kernels() { return std::make_unique<CpuKernels>(); }

}  // namespace muster::sharding
