// What this machine offers this process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

// Limits of a cgroup count.
struct Machine {
  int cores = 1;                  // may be used by this process
  std::int64_t memory_bytes = 0;  // free for it now
  int gpus = 0;
};
Machine this_machine();

// The processors that this process may run on, ascending; {0} where the system does not say.
std::vector<int> own_cpus();

// Those instructions of the processor that decide how fast products are: "avx2", "avx512f", ...
std::vector<std::string> cpu_features();

// Whether oneDNN has kernels for products of bf16 on this processor: from AVX-512 on. Without them
// LibTorch takes each such product element by element.
bool has_bf16_products();

}  // namespace muster
