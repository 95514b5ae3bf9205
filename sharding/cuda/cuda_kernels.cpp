#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "sharding/cuda/kernels.cuh"
#include "sharding/exact_sum.h"
#include "sharding/fused_adamw.h"
#include "sharding/kernels.h"

namespace muster::sharding::cuda {
namespace {

static_assert(ExactSum::kLimbs == 19 && ExactSum::kLowestExponent == -320, "kernels.cu has these numbers too");

Type type_of(const at::Tensor& t) {
  if (t.scalar_type() == at::kFloat) return Type::kFloat32;
  return t.scalar_type() == at::kHalf ? Type::kFloat16 : Type::kBFloat16;
}
template <typename T> T* data_of(const at::Tensor& t) { return static_cast<T*>(t.data_ptr()); }
cudaStream_t stream() { return c10::cuda::getCurrentCUDAStream(); }

class CudaKernels final : public Kernels {
 public:
  void to_wire(const at::Tensor& gradient, const at::Tensor& wire, bool add, const at::Tensor& nonfinite) override {
    cuda::to_wire(gradient.data_ptr(), type_of(gradient), wire.data_ptr(), type_of(wire), wire.numel(), add,
                  data_of<std::uint8_t>(nonfinite), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

  void accumulate(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) override {
    if (fresh) acc.zero_();
    cuda::accumulate(rows[0], type == at::kFloat ? Type::kFloat32 : Type::kBFloat16, static_cast<int>(rows.size()),
                     data_of<float>(acc), acc.numel(), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

  void add_squares(const at::Tensor& values, const at::Tensor& limbs, const at::Tensor& nonfinite) override {
    cuda::add_squares(data_of<float>(values), values.numel(), data_of<std::int64_t>(limbs),
                      data_of<std::uint8_t>(nonfinite), stream());
    cuda::normalize_limbs(data_of<std::int64_t>(limbs), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }

  void adamw(const AdamWRun& run) override {
    cuda::adamw(adamw_spans(run), adamw_factors(run), stream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
};

}  // namespace

std::unique_ptr<Kernels> make_cuda_kernels() { return std::make_unique<CudaKernels>(); }

}  // namespace muster::sharding::cuda
