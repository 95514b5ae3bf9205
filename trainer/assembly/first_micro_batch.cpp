#include "trainer/assembly/first_micro_batch.h"

namespace muster::trainer {

MicroBatch first_micro_batch(const RunData& data) {
  const data::MicroBatchPlan plan = data.sampler.epoch(0).front();
  MicroBatch batch = data.encoder.encode(data.train, plan.samples, /*with_answer=*/true);
  batch.index = 0;
  return batch;
}

}  // namespace muster::trainer
