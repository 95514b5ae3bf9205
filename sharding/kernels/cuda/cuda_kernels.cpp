#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstring>

#include "base/error.h"
#include "sharding/kernels/cuda/kernels.cuh"
#include "sharding/kernels/exact_sum.h"
#include "sharding/kernels/fused_adamw.h"
#include "sharding/kernels/kernels.h"

namespace muster::sharding::cuda {
namespace {

static_assert(ExactSum::kLimbs == 19 && ExactSum::kLowestExponent == -320,
              "kernels.cu has these numbers too");

Type type_of(const at::Tensor& t) {
  if (t.scalar_type() == at::kFloat) return Type::kFloat32;
  return t.scalar_type() == at::kHalf ? Type::kFloat16 : Type::kBFloat16;
}
template <typename T>
T* data_of(const at::Tensor& t) {
  return static_cast<T*>(t.data_ptr());
}

// Calls launch(stream) on the tensor's device: the communication thread may stand on another.
template <typename Launch>
void on_device_of(const at::Tensor& tensor, Launch launch) {
  const c10::cuda::CUDAGuard guard(tensor.device());
  launch(c10::cuda::getCurrentCUDAStream().stream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

class CudaKernels final : public Kernels {
 public:
  void to_wire(const at::Tensor& gradient, const at::Tensor& wire, bool add,
               const at::Tensor& nonfinite) override {
    on_device_of(wire, [&](cudaStream_t stream) {
      cuda::to_wire(gradient.data_ptr(), type_of(gradient), wire.data_ptr(), type_of(wire),
                    wire.numel(), add, data_of<std::uint8_t>(nonfinite), stream);
    });
  }

  // Rows at one distance, as a received buffer has them, go together.
  void accumulate(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) override {
    const std::int64_t size = type == at::kFloat ? 4 : 2;
    for (std::size_t first = 0, count = 0; first < rows.size(); first += count, fresh = false) {
      const std::ptrdiff_t apart = first + 1 < rows.size() ? rows[first + 1] - rows[first] : 0;
      count = 1;
      while (first + count < rows.size() && apart % size == 0 &&
             rows[first + count] - rows[first + count - 1] == apart)
        ++count;
      on_device_of(acc, [&](cudaStream_t stream) {
        cuda::accumulate(rows[first], size == 4 ? Type::kFloat32 : Type::kBFloat16,
                         static_cast<int>(count), apart / size, data_of<float>(acc), acc.numel(),
                         fresh, stream);
      });
    }
  }

  // REQUIRES rows at one distance, as a received buffer has them.
  void add_tree(Rows rows, at::ScalarType type, const at::Tensor& acc, bool fresh) override {
    const std::int64_t size = type == at::kFloat ? 4 : 2;
    const std::ptrdiff_t apart = rows.size() > 1 ? rows[1] - rows[0] : 0;
    for (std::size_t r = 1; r < rows.size(); ++r)
      TORCH_CHECK(rows[r] - rows[r - 1] == apart && apart % size == 0, "add_tree: uneven rows");
    on_device_of(acc, [&](cudaStream_t stream) {
      cuda::add_tree(rows[0], size == 4 ? Type::kFloat32 : Type::kBFloat16,
                     static_cast<int>(rows.size()), apart / size, data_of<float>(acc), acc.numel(),
                     fresh, stream);
    });
  }

  void add_squares(const at::Tensor& values, const at::Tensor& limbs,
                   const at::Tensor& nonfinite) override {
    on_device_of(values, [&](cudaStream_t stream) {
      cuda::add_squares(data_of<float>(values), values.numel(), data_of<std::int64_t>(limbs),
                        data_of<std::uint8_t>(nonfinite), stream);
    });
  }

  void adamw(const AdamWRun& run) override {
    if (run.squares.defined()) return measured_adamw(*this, run);
    on_device_of(run.gradient, [&](cudaStream_t stream) {
      cuda::adamw(adamw_spans(run), adamw_factors(run), stream);
    });
  }

  // The caching allocator of pinned memory would round up to a power of two: a third more of a
  // large shard.
  at::Tensor host_zeros(std::int64_t elements, at::ScalarType type) override {
    const auto bytes = static_cast<std::size_t>(elements) * c10::elementSize(type);
    if (bytes == 0) return at::zeros({elements}, type);
    void* memory = nullptr;
    if (cudaHostAlloc(&memory, bytes, cudaHostAllocDefault) != cudaSuccess) {
      (void)cudaGetLastError();
      throw PreflightError(
          fmt::format("this host has no {} bytes of page-locked memory for the optimizer "
                      "(sharding.optimizer_device: cpu; see ulimit -l and `muster plan`)",
                      bytes));
    }
    std::memset(memory, 0, bytes);
    return at::from_blob(
        memory, {elements}, [](void* p) { (void)cudaFreeHost(p); }, at::dtype(type));
  }
};

}  // namespace

std::unique_ptr<Kernels> make_cuda_kernels() { return std::make_unique<CudaKernels>(); }

}  // namespace muster::sharding::cuda
