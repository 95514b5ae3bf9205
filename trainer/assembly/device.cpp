#include "trainer/assembly/device.h"

#include "sharding/cuda_library.h"

namespace muster::trainer {

void open_device(const configs::Run& run, int local_rank) {
  if (run.device == "cuda") sharding::load_cuda_library().use_device(local_rank, run.deterministic);
}

}  // namespace muster::trainer
