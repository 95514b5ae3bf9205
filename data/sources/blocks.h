// A long list of inputs turned into outputs by threads, of which only a block is in memory at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/progress.h"

namespace muster::data {

// next(input) fills the next input, false behind the last; make(input, i) makes the output of input
// i, on any thread; take(output, i) gets them in order. `total` is for the progress line.
template <typename Input, typename Output, typename Next, typename Make, typename Take>
void in_blocks(const std::string& what, std::int64_t total, int threads, Next&& next, Make&& make,
               Take&& take) {
  constexpr std::size_t kBlock = 2048;
  Progress progress(what, total);
  std::int64_t first = 0;  // of the block
  for (bool more = true; more;) {
    std::vector<Input> inputs;
    for (Input input; inputs.size() < kBlock && (more = next(input));)
      inputs.push_back(std::move(input));
    std::vector<Output> outputs(inputs.size());
    const auto count = static_cast<std::int64_t>(inputs.size());
    parallel_for(what, count, threads, [&](std::int64_t i) {
      const auto at = static_cast<std::size_t>(i);
      outputs[at] = make(inputs[at], first + i);
    });
    for (std::int64_t i = 0; i < count; ++i) take(outputs[static_cast<std::size_t>(i)], first + i);
    progress.add(count);
    first += count;
  }
}

}  // namespace muster::data
