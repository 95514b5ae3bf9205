#include "sharding/cuda/plugin.h"

// The one symbol the executable looks up. Registers the kernels and hands out NCCL's maker.
extern "C" muster::sharding::CudaLibrary muster_cuda_open() {
  using namespace muster::sharding;
  register_kernels(at::kCUDA, cuda::make_cuda_kernels);
  return {cuda::use_device, cuda::make_nccl, cuda::device_memory, cuda::device_name};
}
