// Is memory flat over steps? Least squares over resident sizes after warm-up.
#pragma once

#include <cstdint>
#include <vector>

namespace muster::trainer {

struct MemorySlope {
  double bytes_per_step = 0;
  double grown_bytes = 0;       // slope times steps
  bool flat = false;            // grew by less than the tolerance over the measured steps
};

// `samples`: one per step. The first `warm_up` are left out: allocators fill their pools there. Tolerance: 1 % of the mean,
// at least 8 MiB, which is what allocator noise reaches.
MemorySlope fit_memory(const std::vector<std::int64_t>& samples, std::size_t warm_up);

}  // namespace muster::trainer
