// Where a run stands in its data.
#pragma once

#include <cstdint>

namespace muster::data {

// The next step to take. Saved in every checkpoint; independent of the world size.
struct Cursor {
  std::int64_t epoch = 0, step_in_epoch = 0;
  bool operator==(const Cursor&) const = default;
};

}  // namespace muster::data
