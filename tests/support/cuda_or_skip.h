// For [gpu] tests: the CUDA library with the first GPU in use and bits that repeat, or SKIP with
// the reason.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "base/error.h"
#include "sharding/cuda_library.h"

namespace muster::test {

inline const sharding::CudaLibrary& cuda_or_skip() {
  const sharding::CudaLibrary* library = nullptr;
  std::string why;
  try {
    library = &sharding::load_cuda_library();
    library->use_device(0, /*deterministic=*/true);
  } catch (const PreflightError& e) {
    library = nullptr;
    why = e.what();
  }
  if (library == nullptr) SKIP(why);
  return *library;
}

// A world of one over NCCL; the store picks its port.
inline std::unique_ptr<sharding::Collective> nccl_alone(const sharding::CudaLibrary& cuda) {
  return cuda.make_nccl({.host = "127.0.0.1", .token = "alone"}, 0, 1, std::chrono::seconds(60));
}

}  // namespace muster::test
