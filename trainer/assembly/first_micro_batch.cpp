#include "trainer/assembly/first_micro_batch.h"

namespace muster::trainer {

MicroBatch first_micro_batch(const RunData& data) {
  MicroBatch batch = data.samples.encode(data.sampler.epoch(0).front(), 0);
  batch.index = 0;
  return batch;
}

}  // namespace muster::trainer
