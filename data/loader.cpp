#include "data/loader.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/trace.h"

namespace muster::data {
namespace {

using EpochPlan = std::shared_ptr<const std::vector<MicroBatchPlan>>;

// Micro-batches without a picture are small, and plans of epochs wait with them.
constexpr std::int64_t kMostAhead = 1024;

// One micro-batch of this rank: the number-th it will ever consume.
struct Job {
  std::int64_t number = 0;
  EpochPlan plan;
  std::int64_t epoch = 0;
  std::int64_t index = 0;  // in the plan
};

// The plans of epochs. The one after the newest that was asked for is made in the background: on a
// million samples that takes a while, above all when they are augmented and measured anew.
class EpochPlans {
 public:
  // The first epoch, and the step of the run that it starts with, are where the loader starts.
  // Those beyond the run's end are planned when they are asked for alone.
  EpochPlans(const Sampler& sampler, const LoaderOptions& options)
      : sampler_(sampler), end_step_(options.end_step), end_epoch_(options.end_epoch) {
    add(options.start.epoch, options.epoch_first_step, std::launch::deferred);
  }

  // REQUIRES: `epoch` is the first, or the one after one that was asked for. Waits, and throws what
  // planning threw.
  EpochPlan get(std::int64_t epoch) {
    const Entry entry = entries_.at(epoch);
    const EpochPlan plan = entry.plan.get();
    if (!entries_.contains(epoch + 1)) {
      const std::int64_t steps =
          static_cast<std::int64_t>(plan->size()) / sampler_.options().micro_batches_per_step;
      const std::int64_t next = entry.first_step + steps;
      const bool in_run = next < end_step_ && epoch + 1 < end_epoch_;
      add(epoch + 1, next, in_run ? std::launch::async : std::launch::deferred);
    }
    return plan;
  }

  // The step of the run that an epoch starts with. REQUIRES as get().
  std::int64_t first_step(std::int64_t epoch) const { return entries_.at(epoch).first_step; }

  // Epochs that are over.
  void forget_before(std::int64_t epoch) {
    entries_.erase(entries_.begin(), entries_.lower_bound(epoch));
  }

 private:
  struct Entry {
    std::int64_t first_step = 0;
    std::shared_future<EpochPlan> plan;
  };

  void add(std::int64_t epoch, std::int64_t first_step, std::launch when) {
    entries_[epoch] = {first_step, std::async(when, [&sampler = sampler_, epoch, first_step] {
                         return std::make_shared<const std::vector<MicroBatchPlan>>(
                             sampler.epoch(epoch, first_step));
                       })};
  }

  const Sampler& sampler_;
  std::int64_t end_step_;
  std::int64_t end_epoch_;
  std::map<std::int64_t, Entry> entries_;
};

struct Result {
  MicroBatch batch;
  std::exception_ptr error;
};

}  // namespace

// Workers take jobs in order and leave results by number, so what comes out does not depend on who
// was faster.
struct Loader::Impl {
  const TrainingSamples& samples;
  const Sampler& sampler;
  const std::int64_t group, rank, world_size, prefetch_bytes;

  mutable std::mutex mutex;             // guards everything below
  std::condition_variable room, ready;  // for workers; for next_step()
  Cursor cursor;                        // next_step()'s
  Cursor ahead;                         // the step jobs are handed out from
  std::int64_t ahead_turn = 0;          // and this rank's micro-batch within it
  std::int64_t handed_out = 0, consumed = 0;
  std::int64_t ahead_bytes = 0;            // of those handed out and not consumed
  std::map<std::int64_t, Result> results;  // by job number
  std::int64_t end_step;                   // nothing is made ahead of it ...
  std::int64_t end_epoch;                  // ... or of this one's first
  EpochPlans plans;
  bool first_of_epoch = true;  // the next step is the first of its epoch that is given here
  double waited_s = 0;
  bool stopping = false;
  std::vector<std::jthread> workers;  // last: joined before the rest goes

  Impl(const TrainingSamples& given, const Sampler& s, const LoaderOptions& options)
      : samples(given),
        sampler(s),
        group(options.micro_batches_per_step),
        rank(options.rank),
        world_size(options.world_size),
        prefetch_bytes(std::max<std::int64_t>(1, options.prefetch_bytes)),
        cursor(options.start),
        end_step(options.end_step),
        end_epoch(options.end_epoch),
        plans(s, options) {
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
    return static_cast<std::int64_t>(plans.get(epoch)->size()) / group;
  }

  void roll_over(Cursor& at) {
    if (at.step_in_epoch == steps(at.epoch)) at = {at.epoch + 1, 0};
  }

  // The run has the step that jobs are handed out from.
  bool wanted() const {
    return ahead.epoch < end_epoch &&
           plans.first_step(ahead.epoch) + ahead.step_in_epoch < end_step;
  }

  // A step beyond the run's end is made when it is asked for.
  void want(const Cursor& at) {
    const std::int64_t step = plans.first_step(at.epoch) + at.step_in_epoch;
    if (step < end_step && at.epoch < end_epoch) return;
    end_step = std::max(end_step, step + 1);
    end_epoch = std::max(end_epoch, at.epoch + 1);
    room.notify_all();
  }

  bool has_room() const {
    return ahead_bytes < prefetch_bytes && handed_out < consumed + kMostAhead;
  }

  Job take_job() {
    const EpochPlan plan = plans.get(ahead.epoch);
    Job job{handed_out++, plan, ahead.epoch,
            ahead.step_in_epoch * group + ahead_turn * world_size + rank};
    ahead_bytes += samples.encoded_bytes((*plan)[job.index]);
    if (++ahead_turn == turns()) {
      ahead_turn = 0;
      ++ahead.step_in_epoch;
      roll_over(ahead);
    }
    return job;
  }

  // Nothing when the epoch cannot be planned: the error is the result of this job, and there is no
  // later one.
  std::optional<Job> next_job() {
    try {
      return take_job();
    } catch (...) {
      results[handed_out].error = std::current_exception();
      ready.notify_one();
      return std::nullopt;
    }
  }

  Result run(const Job& job) const {
    const trace::Span span("loader", "micro-batch");
    Result result;
    const MicroBatchPlan& plan_entry = (*job.plan)[job.index];
    try {
      if (!plan_entry.samples.empty()) result.batch = samples.encode(plan_entry, job.epoch);
      result.batch.index = job.index;
      TORCH_CHECK(result.batch.denominators == plan_entry.denominators, "micro-batch ", job.index,
                  " differs from its plan");
    } catch (...) {
      result.error = std::current_exception();
    }
    return result;
  }

  void work() {
    trace::name_thread("loader");
    for (std::unique_lock lock(mutex);;) {
      room.wait(lock, [&] { return stopping || (has_room() && wanted()); });
      if (stopping) return;
      const std::optional<Job> job = next_job();
      if (!job) return;
      lock.unlock();
      Result result = run(*job);
      lock.lock();
      results.emplace(job->number, std::move(result));
      ready.notify_one();
    }
  }

  // The next result in order, whose plan is given. A failed one stays, so that asking again fails
  // again.
  MicroBatch next(const MicroBatchPlan& plan_entry, std::unique_lock<std::mutex>& lock) {
    const auto begin = std::chrono::steady_clock::now();
    ready.wait(lock, [&] { return results.contains(consumed); });
    waited_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    Result& result = results.at(consumed);
    if (result.error) std::rethrow_exception(result.error);
    MicroBatch batch = std::move(result.batch);
    results.erase(consumed++);
    ahead_bytes -= samples.encoded_bytes(plan_entry);
    room.notify_all();
    return batch;
  }
};

Loader::Loader(const TrainingSamples& samples, const Sampler& sampler, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(samples, sampler, options)) {
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
  impl_->want(step.cursor);
  const EpochPlan plan = impl_->plans.get(step.cursor.epoch);
  step.fill = impl_->sampler.report_step(*plan, step.cursor.step_in_epoch);
  if (std::exchange(impl_->first_of_epoch, false)) step.epoch_fill = impl_->sampler.report(*plan);
  const std::int64_t first = step.cursor.step_in_epoch * impl_->group;
  for (std::int64_t slot = 0; slot < impl_->group; ++slot)
    step.denominators += (*plan)[first + slot].denominators;
  for (std::int64_t slot = 0; slot < impl_->group; ++slot) step.cost += (*plan)[first + slot].cost;
  for (std::int64_t turn = 0; turn < impl_->turns(); ++turn) {
    const std::int64_t index = turn * impl_->world_size + impl_->rank;
    step.indices.push_back(index);
    step.micro_batches.push_back(impl_->next((*plan)[first + index], lock));
  }
  step.steps_in_epoch = impl_->steps(step.cursor.epoch);
  step.last_in_epoch = first + impl_->group == static_cast<std::int64_t>(plan->size());
  ++impl_->cursor.step_in_epoch;
  impl_->roll_over(impl_->cursor);
  impl_->first_of_epoch = step.last_in_epoch;
  impl_->plans.forget_before(impl_->cursor.epoch);
  return step;
}

double Loader::seconds_waited() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->waited_s;
}

}  // namespace muster::data
