// What libmuster_cuda.so offers, found by name with dlsym.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "sharding/collectives/collective.h"
#include "sharding/cuda_library.h"
#include "sharding/kernels/kernels.h"

namespace muster::sharding::cuda {

std::unique_ptr<Kernels> make_cuda_kernels();
std::unique_ptr<Collective> make_nccl(const StoreAddress& address, int rank, int size,
                                      std::chrono::duration<double> timeout);
void use_device(int local_rank, bool deterministic);
DeviceMemory device_memory();
std::string device_name();

}  // namespace muster::sharding::cuda
