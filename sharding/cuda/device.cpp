// Which GPU a rank has, how it computes there, and what is held on it.
#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdlib>

#include "base/error.h"
#include "sharding/cuda/plugin.h"

namespace muster::sharding::cuda {
namespace {

// Same bits for the same work (law 9): attention's backward and indexed sums without atomics, and
// one workspace for cuBLAS. Values of tensors that nothing was written to stay what they are:
// filling them would cost a pass over each.
void set_deterministic(bool deterministic) {
  if (deterministic) ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::globalContext().setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

}  // namespace

void use_device(int local_rank, bool deterministic) {
  const int devices = c10::cuda::device_count();
  if (devices == 0)
    throw PreflightError("run.device is cuda and this machine shows no CUDA device (nvidia-smi)");
  const int device =
      devices == 1 ? 0 : local_rank;  // one is visible: the launcher has bound the rank to it
  if (device >= devices) {
    throw PreflightError(
        fmt::format("local rank {} has no GPU of its own: {} are visible. NCCL cannot share one",
                    local_rank, devices));
  }
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
  at::globalContext().lazyInitDevice(c10::kCUDA);
  set_deterministic(deterministic);
}

DeviceMemory device_memory() {
  constexpr auto kAggregate = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(c10::cuda::current_device());
  const auto& held = stats.allocated_bytes[kAggregate];
  const auto& reserved = stats.reserved_bytes[kAggregate];
  return {held.current, held.peak, reserved.peak};
}

std::string device_name() {
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, c10::cuda::current_device()) != cudaSuccess) {
    (void)cudaGetLastError();
    return "";
  }
  return properties.name;
}

}  // namespace muster::sharding::cuda
