#include "data/fill.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace muster::data {
namespace {

constexpr std::int64_t kWindow = 64;         // micro-batches filled together
constexpr std::int64_t kStepsTogether = 16;  // that exchange micro-batches of unlike cost
// Costs within a part of 32 of each other count as equal, so that no more order is put into an
// epoch than the ranks' waiting is worth.
constexpr std::int64_t kCostParts = 32;
// The part of a limit that micro-batches are planned to use: the rest is room to make them equal.
constexpr std::int64_t kPlannedNumerator = 98, kPlannedDenominator = 100;

std::int64_t divided_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// A sample that is waiting for a micro-batch.
struct Waiting {
  std::int64_t cost = 0;
  std::int64_t sample = 0;
};

void append(MicroBatchPlan& plan, const Waiting& item, const SampleSize& size) {
  plan.samples.push_back(item.sample);
  plan.tokens += size.tokens;
  plan.vision_tokens += size.vision_tokens;
  plan.cost += item.cost;
  plan.denominators += size.denominators;
}

class Filler {
 public:
  Filler(std::span<const SampleSize> sizes, const FillLimits& limits, const TokenCost& cost,
         std::int64_t group)
      : sizes_(sizes), limits_(limits), cost_(cost), group_(group) {}

  std::vector<MicroBatchPlan> fill(std::span<const std::int64_t> order) {
    for (const std::int64_t sample : order) {
      wait(sample);
      if (micro_batches_needed() >= kWindow) deal(micro_batches_with_samples());
    }
    while (!waiting_.empty()) deal(last_micro_batches());
    return std::move(list_);
  }

 private:
  void wait(std::int64_t sample) {
    const SampleSize& size = sizes_[static_cast<std::size_t>(sample)];
    tokens_ += size.tokens;
    vision_tokens_ += size.vision_tokens;
    waiting_.push_back({cost_.of(size), sample});
  }

  // For what waits, at the planned part of the limits. All samples may be used up to max_samples.
  std::int64_t micro_batches_needed() const {
    const auto planned = [](std::int64_t used, std::int64_t limit) {
      return divided_up(used * kPlannedDenominator, limit * kPlannedNumerator);
    };
    const auto samples = static_cast<std::int64_t>(waiting_.size());
    return std::max({planned(tokens_, limits_.max_tokens),
                     planned(vision_tokens_, limits_.max_vision_tokens),
                     divided_up(samples, limits_.max_samples)});
  }

  // An empty one has its place at the end of the epoch alone.
  std::int64_t micro_batches_with_samples() const {
    return std::min(micro_batches_needed(), static_cast<std::int64_t>(waiting_.size()));
  }

  // As many as complete the last step, where there are samples for them.
  std::int64_t last_micro_batches() const {
    const auto made = static_cast<std::int64_t>(list_.size());
    const std::int64_t complete = divided_up(made + micro_batches_needed(), group_) * group_;
    return std::min(complete - made, static_cast<std::int64_t>(waiting_.size()));
  }

  // Deals what waits into `count` new micro-batches. The costliest comes first, so that the cheap
  // ones, which fit anywhere, make the micro-batches equal.
  void deal(std::int64_t count) {
    std::ranges::stable_sort(waiting_, std::ranges::greater(), &Waiting::cost);
    std::vector<MicroBatchPlan> made(static_cast<std::size_t>(count));
    std::vector<Waiting> left;
    for (const Waiting& item : waiting_) {
      const SampleSize& size = sizes_[static_cast<std::size_t>(item.sample)];
      MicroBatchPlan* cheapest = nullptr;
      for (MicroBatchPlan& plan : made) {
        if (cheapest != nullptr && plan.cost >= cheapest->cost) continue;
        if (limits_.hold(plan, size)) cheapest = &plan;
      }
      if (cheapest == nullptr) {
        left.push_back(item);
      } else {
        append(*cheapest, item, size);
      }
    }
    TORCH_CHECK(left.size() < waiting_.size(), "a sample fits no micro-batch");
    std::move(made.begin(), made.end(), std::back_inserter(list_));
    keep_waiting(std::move(left));
  }

  void keep_waiting(std::vector<Waiting> left) {
    waiting_.clear();
    tokens_ = 0;
    vision_tokens_ = 0;
    for (const Waiting& item : left) wait(item.sample);
  }

  std::span<const SampleSize> sizes_;
  FillLimits limits_;
  TokenCost cost_;
  std::int64_t group_;
  std::vector<Waiting> waiting_;
  std::int64_t tokens_ = 0, vision_tokens_ = 0;  // of what waits
  std::vector<MicroBatchPlan> list_;
};

// Sorts by cost, but leaves micro-batches of about the same cost in the order they are in.
void sort_by_cost(std::span<MicroBatchPlan> window) {
  std::vector<std::int64_t> costs;
  costs.reserve(window.size());
  for (const MicroBatchPlan& plan : window) costs.push_back(plan.cost);
  std::ranges::sort(costs);
  std::vector<std::int64_t> floors;  // the least cost of each class of equals
  for (const std::int64_t cost : costs)
    if (floors.empty() || cost > floors.back() + floors.back() / kCostParts) floors.push_back(cost);
  const auto rank = [&](const MicroBatchPlan& plan) {
    return std::ranges::upper_bound(floors, plan.cost) - floors.begin();
  };
  std::ranges::stable_sort(window, std::ranges::less(), rank);
}

// Puts micro-batches of about the same cost into one step, and the steps in a drawn order.
void group_steps(std::span<MicroBatchPlan> list, std::int64_t group, Rng& rng) {
  const auto whole_steps = static_cast<std::int64_t>(list.size()) / group;
  for (std::int64_t first = 0; first < whole_steps; first += kStepsTogether) {
    const std::int64_t steps = std::min(kStepsTogether, whole_steps - first);
    const auto window = list.subspan(static_cast<std::size_t>(first * group),
                                     static_cast<std::size_t>(steps * group));
    sort_by_cost(window);
    for (std::int64_t i = steps; i > 1; --i) {
      const std::int64_t j = rng.below(i);
      if (j == i - 1) continue;
      std::swap_ranges(window.begin() + j * group, window.begin() + (j + 1) * group,
                       window.begin() + (i - 1) * group);
    }
  }
}

double part(std::int64_t used, std::int64_t limit) {
  return static_cast<double>(used) / static_cast<double>(limit);
}

}  // namespace

std::vector<MicroBatchPlan> fill(std::span<const std::int64_t> order,
                                 std::span<const SampleSize> sizes, const FillLimits& limits,
                                 const TokenCost& cost, std::int64_t group, Rng rng) {
  std::vector<MicroBatchPlan> list = Filler(sizes, limits, cost, group).fill(order);
  group_steps(list, group, rng);
  list.resize(
      static_cast<std::size_t>(divided_up(static_cast<std::int64_t>(list.size()), group) * group));
  return list;
}

FillReport report_fill(std::span<const MicroBatchPlan> list, const FillLimits& limits,
                       std::int64_t group) {
  FillReport report;
  for (std::size_t first = 0; first < list.size(); first += static_cast<std::size_t>(group)) {
    std::int64_t sum = 0;
    std::int64_t most = 0;
    for (const MicroBatchPlan& plan : list.subspan(first, static_cast<std::size_t>(group))) {
      sum += plan.cost;
      most = std::max(most, plan.cost);
      report.fill += std::max(
          {part(plan.tokens, limits.max_tokens), part(plan.vision_tokens, limits.max_vision_tokens),
           part(static_cast<std::int64_t>(plan.samples.size()), limits.max_samples)});
    }
    report.balance += most == 0 ? 1.0 : part(sum, group) / static_cast<double>(most);
    ++report.steps;
  }
  if (list.empty()) return report;
  report.fill /= static_cast<double>(list.size());
  report.balance /= static_cast<double>(report.steps);
  return report;
}

}  // namespace muster::data
