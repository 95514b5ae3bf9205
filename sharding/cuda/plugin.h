// What libmuster_cuda.so offers, found by name with dlsym.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "sharding/collective.h"
#include "sharding/kernels.h"

namespace muster::sharding::cuda {

std::unique_ptr<Kernels> make_cuda_kernels();
std::unique_ptr<Collective> make_nccl(const std::string& host, int port, int rank, int size, int local_rank,
                                      std::chrono::duration<double> timeout);

}  // namespace muster::sharding::cuda
