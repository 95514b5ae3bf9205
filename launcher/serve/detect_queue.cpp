#include "launcher/serve/detect_queue.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/machine.h"

namespace muster::launcher {

struct DetectQueue::Item {
  std::unique_ptr<Prepared> prepared;
  std::size_t bytes = 0;
  Outcome outcome{.status = 0, .error = {}, .entry = {}};  // 0: not answered yet
  bool given_up = false;                                   // nobody waits for it any more
};

namespace {

int status_of(const Error& error) { return error.exit_code() == ExitCode::kData ? 422 : 500; }

}  // namespace

DetectQueue::DetectQueue(DetectBackend& backend, const QueueLimits& limits)
    : backend_(backend), limits_(limits), decoders_(std::max(1, this_machine().cores)) {
  worker_ = std::thread([this] { work(); });
}

DetectQueue::~DetectQueue() { stop(); }

void DetectQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& item : waiting_) item->outcome = {503, "this server is going down", {}};
    waiting_.clear();
  }
  came_.notify_all();
  answered_.notify_all();
  if (worker_.joinable()) worker_.join();
}

bool DetectQueue::take_places(std::size_t count) {
  const std::lock_guard lock(mutex_);
  if (places_ + count > limits_.waiting || bytes_ > limits_.bytes) {
    counts_.refused += count;
    return false;
  }
  places_ += count;
  return true;
}

void DetectQueue::leave_places(std::size_t count) {
  const std::lock_guard lock(mutex_);
  places_ -= count;
}

// A picture that cannot be decoded is an item that is answered already.
std::shared_ptr<DetectQueue::Item> DetectQueue::prepared(const Question& question) {
  auto item = std::make_shared<Item>();
  decoders_.acquire();
  try {
    item->prepared = backend_.prepare(question);
    item->bytes = item->prepared->bytes();
  } catch (const Error& error) {
    item->outcome = {status_of(error), error.what(), {}};
  } catch (const std::exception& error) {
    item->outcome = {500, error.what(), {}};
  }
  decoders_.release();
  return item;
}

std::vector<DetectQueue::Outcome> DetectQueue::ask(const std::vector<Question>& questions) {
  if (!take_places(questions.size()))
    return {questions.size(), {429, "too many pictures wait; ask again in a second", {}}};
  std::vector<std::shared_ptr<Item>> items;
  for (const Question& question : questions) items.push_back(prepared(question));
  std::unique_lock lock(mutex_);
  for (const auto& item : items) {
    if (item->outcome.status != 0) continue;
    if (stopping_) item->outcome = {503, "this server is going down", {}};
    if (stopping_) continue;
    bytes_ += item->bytes;
    waiting_.push_back(item);
  }
  came_.notify_one();
  const auto all_answered = [&] {
    return std::ranges::all_of(items, [](const auto& item) { return item->outcome.status != 0; });
  };
  answered_.wait_for(lock, limits_.patience, all_answered);
  std::vector<Outcome> outcomes;
  for (const auto& item : items) {
    item->given_up = item->outcome.status == 0;
    outcomes.push_back(item->given_up ? Outcome{504, "no answer in time", {}}
                                      : std::move(item->outcome));
  }
  lock.unlock();
  leave_places(questions.size());
  return outcomes;
}

DetectQueue::Counts DetectQueue::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.waiting = places_;
  return counts;
}

// Those of a batch come together when they are asked together: the first waits a moment for others.
std::vector<std::shared_ptr<DetectQueue::Item>> DetectQueue::next_batch() {
  constexpr std::chrono::milliseconds kMoment{2};
  std::unique_lock lock(mutex_);
  came_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
  came_.wait_for(lock, kMoment, [this] { return stopping_ || waiting_.size() >= limits_.batch; });
  std::vector<std::shared_ptr<Item>> batch;
  while (!waiting_.empty() && batch.size() < limits_.batch) {
    const std::shared_ptr<Item> item = std::move(waiting_.front());
    waiting_.pop_front();
    if (item->given_up)
      bytes_ -= item->bytes;
    else
      batch.push_back(item);
  }
  return batch;
}

void DetectQueue::work() {
  while (true) {
    std::vector<std::shared_ptr<Item>> batch = next_batch();
    if (!batch.empty()) answer_all(std::move(batch));
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
  }
}

bool DetectQueue::try_answer(std::span<const std::shared_ptr<Item>> items, std::string& error,
                             int& status) {
  std::vector<std::unique_ptr<Prepared>> asked;
  for (const auto& item : items) asked.push_back(std::move(item->prepared));
  std::vector<nlohmann::json> entries;
  try {
    entries = backend_.answer(asked);
  } catch (const Error& failed) {
    error = failed.what();
    status = status_of(failed);
  } catch (const std::exception& failed) {
    error = failed.what();
    status = 500;
  }
  const bool done = entries.size() == items.size();
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i]->prepared = std::move(asked[i]);
    if (!done) continue;
    const std::lock_guard lock(mutex_);
    items[i]->outcome = {200, "", std::move(entries[i])};
  }
  return done;
}

// When a batch fails, each of its questions is asked alone, so that one does not spoil the others.
void DetectQueue::answer_all(std::vector<std::shared_ptr<Item>> batch) {
  const double begin = seconds_now();
  std::string error;
  int status = 500;
  if (!try_answer(batch, error, status)) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (batch.size() > 1 && try_answer({&batch[i], 1}, error, status)) continue;
      if (status == 500) log::error("serve: {}", error);
      const std::lock_guard lock(mutex_);
      batch[i]->outcome = {status, error, {}};
    }
  }
  const std::lock_guard lock(mutex_);
  counts_.batches += 1;
  counts_.seconds += seconds_now() - begin;
  for (const auto& item : batch) {
    counts_.pictures += item->outcome.status == 200 ? 1 : 0;
    bytes_ -= item->bytes;
    item->prepared.reset();
  }
  answered_.notify_all();
}

}  // namespace muster::launcher
