// libmuster_cuda.so, loaded once when a config asks for a GPU.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "sharding/collectives/collective.h"

namespace muster::sharding {

struct DeviceMemory {
  std::int64_t held = 0;           // bytes of tensors on this thread's device now
  std::int64_t peak_held = 0;      // most since the start of the process
  std::int64_t peak_reserved = 0;  // most that the allocator took from the driver
};

struct CudaLibrary {
  // Gives the calling thread and all tensors from now on the GPU of this local rank; before the
  // first tensor there. `deterministic`: the same work gives the same bits, run after run.
  // PreflightError when there is no such GPU.
  void (*use_device)(int local_rank, bool deterministic);
  // [C] Works on the device in use. Throws CollectiveError when the ranks do not find each other.
  std::unique_ptr<Collective> (*make_nccl)(const StoreAddress& store, int rank, int size,
                                           std::chrono::duration<double> timeout);
  DeviceMemory (*device_memory)();
  std::string (*device_name)();  // as the driver says it: "NVIDIA H200"
};

// Looks beside the executable, then where the loader looks. Throws PreflightError with what to do:
// this build has no CUDA part (./run build --cuda), or the driver's libraries are missing.
const CudaLibrary& load_cuda_library();

}  // namespace muster::sharding
