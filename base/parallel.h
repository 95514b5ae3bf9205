// A loop over independent items on a few threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace muster {

// Runs body(0..n-1), each once, on `threads` threads (0: one per core), with a progress line called
// `what`. When bodies throw, the exception of the smallest index is rethrown after all threads have
// stopped.
void parallel_for(const std::string& what, std::int64_t n, int threads,
                  const std::function<void(std::int64_t)>& body);

}  // namespace muster
