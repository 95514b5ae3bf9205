// Where large tensors of the host lie. The C library keeps large and small blocks in one heap, so
// that a small one that stays behind holds up to 40 MB of freed tensors below it, differently in
// every run, and hands the system pages back that the next step faults in again. Here each large
// tensor has pages of its own (huge ones, where the system allows), and a freed one waits for the
// next tensor of its size.
#pragma once

#include <cstdint>

namespace muster {

// From now on, in this process, for every tensor of at least 1 MiB that LibTorch allocates on the
// CPU. Call it before the first large one; more than once does nothing.
void use_tensor_memory();

struct TensorMemoryBytes {
  std::int64_t used = 0;  // by large tensors, rounded up to pages
  std::int64_t waiting =
      0;  // freed, and not yet given back: at most 16 MiB, or 1/16 of the most ever used
};
TensorMemoryBytes tensor_memory_bytes();

// Gives all that waits back to the system. Returns how much that was, in bytes.
std::int64_t trim_tensor_memory();

}  // namespace muster
