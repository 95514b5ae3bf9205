// The arithmetic of the engine, behind one seam per device: CPU here, CUDA in libmuster_cuda.so.
// All tensors are 1-D, contiguous and on that device; calls may return before the device is done,
// and are ordered by its stream.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

namespace muster::sharding {

// One pass over a run of one parameter's elements.
struct AdamWRun {
  at::Tensor gradient;             // fp32, the reduced sum
  at::Tensor parameter;            // the model's dtype: fp32, bf16 or fp16
  at::Tensor master;               // fp32; undefined when the parameter is its own ...
  at::Tensor remainder;            // ... or when its low halves are here (i16, for bf16 parameters)
  at::Tensor exp_avg, exp_avg_sq;  // fp32 or bf16
  at::Tensor ema = {};             // fp32, the master's running mean; undefined: none
  double ema_decay = 0;
  // How bf16 moments, and bf16 parameters that are their own master, are rounded.
  bool stochastic = false;
  std::uint64_t seed = 0;  // of that rounding, with `step` and
  std::int64_t first = 0;  // the flat position of element 0
  double scale = 1;        // of the gradient: clipping, loss scale
  double lr = 0, weight_decay = 0, beta1 = 0, beta2 = 0, eps = 0;
  std::int64_t step = 0;  // of this parameter, from 1
  // i64 [2, ExactSum::kLimbs]; undefined: not asked for. Squares of the new masters, and of what
  // the update changed in them, are added as add_squares() adds.
  at::Tensor squares = {};
};

// The fp32 values behind the run's parameters, in memory of their own.
at::Tensor masters_of(const AdamWRun& run);

using Rows = std::span<const std::byte* const>;

class Kernels {
 public:
  virtual ~Kernels() = default;

  // wire (fp32, bf16) = gradient (fp32, bf16, fp16), or wire += gradient, rounded to the wire's
  // dtype. Sets nonfinite[0] (u8) to 1 when a value is NaN or infinite after that.
  virtual void to_wire(const at::Tensor& gradient, const at::Tensor& wire, bool add,
                       const at::Tensor& nonfinite) = 0;

  // rows: per rank, where its acc.numel() values of the wire's dtype (fp32, bf16) lie.
  // acc[i] = ((acc[i] + rows[0][i]) + rows[1][i]) + ...: the order of ranks, never another.
  // `fresh`: acc counts as 0.
  virtual void accumulate(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) = 0;

  // acc[i] += tree(i), where tree is rows[0][i] + rows[1][i] of two, and of more the tree of the
  // first half + the tree of the second. REQUIRES that there are a power of two, at most
  // kMostTreeRows (sharding/kernels/reduce_tree.h). `fresh`: acc counts as 0.
  virtual void add_tree(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) = 0;

  // Adds the squares of `values` to limbs (i64 [ExactSum::kLimbs]): fp64 sums of 16-element blocks,
  // added exactly. A block that is not finite sets nonfinite[0] instead. Carries may be left in the
  // limbs: ExactSum::value() knows them.
  virtual void add_squares(const at::Tensor& values, const at::Tensor& limbs,
                           const at::Tensor& nonfinite) = 0;

  virtual void adamw(const AdamWRun& run) = 0;

  // Zeros in memory of the host that the device copies from and to at full speed. PreflightError
  // when the host has too little of it.
  virtual at::Tensor host_zeros(std::int64_t elements, at::ScalarType type) = 0;
};

std::unique_ptr<Kernels> make_cpu_kernels();

// Updates and adds to run.squares by the other operations alone, for a device whose pass cannot: a
// piece at a time, which takes 8 MiB more for as long.
void measured_adamw(Kernels& kernels, const AdamWRun& run);

// The kernels of a device; ConfigError when none are loaded. libmuster_cuda.so registers its own.
std::unique_ptr<Kernels> make_kernels(at::DeviceType device);
void register_kernels(at::DeviceType device, std::function<std::unique_ptr<Kernels>()> make);

}  // namespace muster::sharding
