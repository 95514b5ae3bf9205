#include "launcher/plan/advice.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "launcher/plan/remedies.h"

namespace muster::launcher {
namespace {

// Remedies by index, in the order they are applied; one may come several times.
using Sequence = std::vector<std::size_t>;

struct Outcome {
  std::vector<PlannedChange> changes;  // one per remedy, as set last
  std::int64_t total = 0;
  bool applicable = true;
};

// Plans one run again and again under different remedies.
class Planner {
 public:
  Planner(const configs::Config& config, const model::QwenConfig& model, const RunPlan& start)
      : config_(config), model_(model), start_(start) {}

  Outcome plan(const Sequence& sequence) const {
    MemorySetup setup{config_, start_.ranks};
    Outcome outcome{{}, start_.total(), true};
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      const MemoryRemedy& remedy = memory_remedies()[sequence[i]];
      if (!remedy.applies(setup)) return {{}, start_.total(), false};
      remedy.apply(setup);
      outcome.total = total_of(setup);
      const bool again = i > 0 && sequence[i - 1] == sequence[i];
      if (again) outcome.changes.pop_back();
      outcome.changes.push_back({settings_of(remedy, setup), setup.ranks, remedy.what,
                                 sequence[i] < num_ladder_remedies(), outcome.total});
    }
    return outcome;
  }

  bool fits(const Sequence& sequence) const {
    const Outcome outcome = plan(sequence);
    return outcome.applicable && fits(outcome.total);
  }
  bool fits(std::int64_t total) const { return total <= start_.available_bytes; }
  std::int64_t total() const { return start_.total(); }

 private:
  std::int64_t total_of(const MemorySetup& setup) const {
    return make_plan(setup.config, model_, setup.ranks, limited(start_.shape, setup.config),
                     start_.available_bytes)
        .total();
  }

  const configs::Config& config_;
  const model::QwenConfig& model_;
  const RunPlan& start_;
};

// Takes what helps by at least a hundredth until it fits. A remedy that helps only when it is
// applied several times is taken as often.
Sequence take_helpful(const Planner& planner) {
  Sequence taken;
  std::int64_t best = planner.total();
  for (std::size_t index = 0; index < memory_remedies().size(); ++index) {
    Sequence tried = taken;
    while (!planner.fits(best)) {
      tried.push_back(index);
      const Outcome outcome = planner.plan(tried);
      if (!outcome.applicable) break;
      if (outcome.total > best - best / 100) continue;
      taken = tried;
      best = outcome.total;
    }
  }
  return taken;
}

Sequence without(const Sequence& sequence, std::size_t place) {
  Sequence rest = sequence;
  rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(place));
  return rest;
}

// Leaves out what the later ones made unnecessary: of the ladder its last rungs, so that what
// remains is how far `launch` would step down; of the rest any.
Sequence prune(Sequence taken, const Planner& planner) {
  const auto rest =
      std::ranges::find_if(taken, [](std::size_t index) { return index >= num_ladder_remedies(); });
  auto rungs = static_cast<std::size_t>(rest - taken.begin());
  while (rungs > 0 && planner.fits(without(taken, rungs - 1))) taken = without(taken, --rungs);
  for (std::size_t i = rungs; i < taken.size();) {
    if (planner.fits(without(taken, i)))
      taken = without(taken, i);
    else
      ++i;
  }
  return taken;
}

}  // namespace

std::string PlannedChange::arguments() const {
  return settings.empty() ? fmt::format("--ranks {}", ranks) : join(settings, " --set ");
}

Advice advise(const configs::Config& config, const model::QwenConfig& model, const RunPlan& plan) {
  if (plan.fits()) return {{}, true};
  const Planner planner(config, model, plan);
  Outcome outcome = planner.plan(prune(take_helpful(planner), planner));
  return {std::move(outcome.changes), planner.fits(outcome.total)};
}

std::string format_advice(const Advice& advice, const RunPlan& plan) {
  if (plan.fits()) return "";
  std::string text = "to make it fit, in this order (each was planned again):\n";
  std::string command;
  for (const PlannedChange& change : advice.changes) {
    text += fmt::format("  {:<42}{:>12}  {}\n", change.arguments(), human_bytes(change.total_after),
                        change.why);
    command += (change.settings.empty() ? " " : " --set ") + change.arguments();
  }
  if (advice.fits) return text + fmt::format("all together: muster plan CONFIG{}\n", command);
  if (advice.changes.empty()) text += "  nothing left to change\n";
  return text +
         "that is not enough: freeze a group (groups.NAME.lr=0), take a smaller model, or more "
         "memory per rank\n";
}

}  // namespace muster::launcher
