// Where large tensors of the host lie. The C library keeps large and small blocks in one heap, so
// that a small one that stays behind holds up to 40 MB of freed tensors below it, differently in
// every run, and hands the system pages back that the next step faults in again. Here large tensors
// have pages of their own (huge ones, where the system allows), and what they free waits for the
// next ones: together never more than were in use at once before, so that a step faults nothing in
// that the one before had, and the process's peak is that of its tensors.
#pragma once

#include <cstdint>

namespace muster {

// From now on, in this process, for every tensor of at least 128 KiB that LibTorch allocates on the
// CPU. Call it before the first large one; more than once does nothing.
void use_tensor_memory();

struct TensorMemoryBytes {
  std::int64_t used = 0;  // by large tensors, rounded up to pages
  // Freed, and not yet given back: with what is used at most the most ever used since it was
  // trimmed, or 4 MiB more, or 1/64 of it more.
  std::int64_t waiting = 0;
};
TensorMemoryBytes tensor_memory_bytes();

// Gives all that waits back to the system, and forgets how much was in use before: after loading,
// and at the end of an epoch. Returns how much that was, in bytes.
std::int64_t trim_tensor_memory();

}  // namespace muster
