#include "trainer/assembly/device.h"

#include "base/tensors/process_memory.h"
#include "sharding/cuda_library.h"

namespace muster::trainer {

void open_device(const configs::Run& run, int local_rank) {
  if (run.device == configs::Device::kCuda)
    sharding::load_cuda_library().use_device(local_rank, run.deterministic);
}

std::int64_t memory_in_use(const configs::Run& run) {
  return run.device == configs::Device::kCuda
             ? sharding::load_cuda_library().device_memory().peak_held
             : resident_bytes();
}

}  // namespace muster::trainer
