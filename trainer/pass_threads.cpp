#include "trainer/pass_threads.h"

namespace muster::trainer {

PassThreads pass_threads(const configs::Run& run) {
  const auto threads = static_cast<int>(run.threads_per_rank);
  if (run.device == configs::Device::kCuda) return {.model = 1, .beside = threads};
  return {.model = threads, .beside = 1};
}

}  // namespace muster::trainer
