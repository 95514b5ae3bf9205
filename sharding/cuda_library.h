// libmuster_cuda.so, loaded once when a config asks for a GPU.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "sharding/collective.h"

namespace muster::sharding {

struct CudaLibrary {
  std::unique_ptr<Collective> (*make_nccl)(const std::string& host, int port, int rank, int size, int local_rank,
                                           std::chrono::duration<double> timeout);
};

// Looks beside the executable, then where the loader looks. Throws PreflightError with what to do: this build has no CUDA
// part (./run build --cuda), or the driver's libraries are missing.
const CudaLibrary& load_cuda_library();

}  // namespace muster::sharding
