// Is memory flat over steps? Least squares over sizes after warm-up.
#pragma once

#include <cstdint>
#include <vector>

namespace muster::trainer {

struct MemorySlope {
  double bytes_per_step = 0;
  double grown_bytes = 0;  // slope times steps
  bool flat = false;       // grew by less than the tolerance over the measured steps
  // Of the first and of the last half of the measured steps. A leak goes on as it began; caches
  // that have one entry per shape of a batch fill more and more slowly.
  double early_bytes_per_step = 0, late_bytes_per_step = 0;
  bool filling() const { return !flat && late_bytes_per_step < 0.7 * early_bytes_per_step; }
};

// What a curve may grow without being called a leak: the larger of both.
struct Tolerance {
  double bytes = 8 << 20;  // what allocator noise reaches in the resident set
  double of_mean = 0.01;
};

// `samples`: one per step. The first `warm_up` are left out: allocators fill their pools there.
MemorySlope fit_memory(const std::vector<std::int64_t>& samples, std::size_t warm_up,
                       Tolerance tolerance = {});

}  // namespace muster::trainer
