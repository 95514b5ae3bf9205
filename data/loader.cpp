#include "data/loader.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"

namespace muster::data {
namespace {

using EpochPlan = std::shared_ptr<const std::vector<MicroBatchPlan>>;

// One micro-batch of this rank: the number-th it will ever consume.
struct Job {
  std::int64_t number = 0;
  EpochPlan plan;
  std::int64_t index = 0;  // in the plan
};

struct Result {
  MicroBatch batch;
  std::exception_ptr error;
};

}  // namespace

// Workers take jobs in order and leave results by number, so what comes out does not depend on who
// was faster.
struct Loader::Impl {
  const SampleSet& set;
  const SampleEncoder& encoder;
  const Sampler& sampler;
  const std::int64_t group, rank, world_size, prefetch;

  mutable std::mutex mutex;             // guards everything below
  std::condition_variable room, ready;  // for workers; for next_step()
  Cursor cursor;                        // next_step()'s
  Cursor ahead;                         // the step jobs are handed out from
  std::int64_t ahead_turn = 0;          // and this rank's micro-batch within it
  std::int64_t handed_out = 0, consumed = 0;
  std::map<std::int64_t, Result> results;  // by job number
  std::map<std::int64_t, EpochPlan>
      plans;  // by epoch: the one being consumed and those being prefetched
  double waited_s = 0;
  bool stopping = false;
  std::vector<std::jthread> workers;  // last: joined before the rest goes

  Impl(const SampleSet& d, const SampleEncoder& e, const Sampler& s, const LoaderOptions& options)
      : set(d),
        encoder(e),
        sampler(s),
        group(options.micro_batches_per_step),
        rank(options.rank),
        world_size(options.world_size),
        prefetch(std::max<std::int64_t>(1, options.prefetch_micro_batches)),
        cursor(options.start) {
    if (world_size < 1 || group % world_size != 0)
      throw ConfigError(
          fmt::format("batch.micro_batches_per_step = {} is not a multiple of the {} ranks", group,
                      world_size));
    TORCH_CHECK(rank >= 0 && rank < world_size, "rank ", rank, " of ", world_size);
    if (cursor.epoch < 0 || cursor.step_in_epoch < 0 || cursor.step_in_epoch > steps(cursor.epoch))
      throw DataError(
          fmt::format("cannot continue at step {} of epoch {}, which has {} steps: the pack, the "
                      "seed or the batch budgets "
                      "are not those of the checkpoint",
                      cursor.step_in_epoch, cursor.epoch, steps(cursor.epoch)));
    roll_over(cursor);
    ahead = cursor;
  }

  std::int64_t turns() const { return group / world_size; }
  std::int64_t steps(std::int64_t epoch) {
    return static_cast<std::int64_t>(plan(epoch)->size()) / group;
  }

  EpochPlan plan(std::int64_t epoch) {
    EpochPlan& entry = plans[epoch];
    if (!entry) entry = std::make_shared<const std::vector<MicroBatchPlan>>(sampler.epoch(epoch));
    return entry;
  }

  void roll_over(Cursor& at) {
    if (at.step_in_epoch == steps(at.epoch)) at = {at.epoch + 1, 0};
  }

  Job take_job() {
    Job job{handed_out++, plan(ahead.epoch),
            ahead.step_in_epoch * group + ahead_turn * world_size + rank};
    if (++ahead_turn == turns()) {
      ahead_turn = 0;
      ++ahead.step_in_epoch;
      roll_over(ahead);
    }
    return job;
  }

  Result run(const Job& job) const {
    Result result;
    const MicroBatchPlan& plan_entry = (*job.plan)[job.index];
    try {
      if (!plan_entry.samples.empty()) result.batch = encoder.encode(set, plan_entry.samples, true);
      result.batch.index = job.index;
      TORCH_CHECK(result.batch.denominators == plan_entry.denominators, "micro-batch ", job.index,
                  " differs from its plan");
    } catch (...) {
      result.error = std::current_exception();
    }
    return result;
  }

  void work() {
    for (std::unique_lock lock(mutex);;) {
      room.wait(lock, [&] { return stopping || handed_out < consumed + prefetch; });
      if (stopping) return;
      const Job job = take_job();
      lock.unlock();
      Result result = run(job);
      lock.lock();
      results.emplace(job.number, std::move(result));
      ready.notify_one();
    }
  }

  // The next result in order. A failed one stays, so that asking again fails again.
  MicroBatch next(std::unique_lock<std::mutex>& lock) {
    const auto begin = std::chrono::steady_clock::now();
    ready.wait(lock, [&] { return results.contains(consumed); });
    waited_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    Result& result = results.at(consumed);
    if (result.error) std::rethrow_exception(result.error);
    MicroBatch batch = std::move(result.batch);
    results.erase(consumed++);
    room.notify_all();
    return batch;
  }
};

Loader::Loader(const SampleSet& set, const SampleEncoder& encoder, const Sampler& sampler,
               const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(set, encoder, sampler, options)) {
  for (std::int64_t i = 0; i < std::max<std::int64_t>(1, options.threads); ++i) {
    impl_->workers.emplace_back([impl = impl_.get()] { impl->work(); });
  }
}

Loader::~Loader() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->room.notify_all();
}

StepBatches Loader::next_step() {
  std::unique_lock lock(impl_->mutex);
  StepBatches step;
  step.cursor = impl_->cursor;
  const EpochPlan plan = impl_->plan(step.cursor.epoch);
  const std::int64_t first = step.cursor.step_in_epoch * impl_->group;
  for (std::int64_t slot = 0; slot < impl_->group; ++slot)
    step.denominators += (*plan)[first + slot].denominators;
  for (std::int64_t turn = 0; turn < impl_->turns(); ++turn) {
    step.indices.push_back(turn * impl_->world_size + impl_->rank);
    step.micro_batches.push_back(impl_->next(lock));
  }
  step.last_in_epoch = first + impl_->group == static_cast<std::int64_t>(plan->size());
  ++impl_->cursor.step_in_epoch;
  impl_->roll_over(impl_->cursor);
  impl_->plans.erase(impl_->plans.begin(), impl_->plans.lower_bound(impl_->cursor.epoch));
  return step;
}

double Loader::seconds_waited() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->waited_s;
}

}  // namespace muster::data
