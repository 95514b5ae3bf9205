// The micro-batch that a run trains on first.
#pragma once

#include "base/tensors/micro_batch.h"
#include "trainer/assembly/run_data.h"

namespace muster::trainer {

// Number 0 of step 0 in epoch 0, encoded as the loader encodes it. It lies on the host. Throws
// DataError when its pictures cannot be read.
MicroBatch first_micro_batch(const RunData& data);

}  // namespace muster::trainer
