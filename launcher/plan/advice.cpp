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
  double fill = 0;                     // RunPlan::fill()
  bool applicable = true;

  bool fits() const { return applicable && fill <= 1; }
  bool helps(double before) const { return fill <= before - before / 100; }
};

// Plans one run again and again under different remedies.
class Planner {
 public:
  Planner(const configs::Config& config, const model::QwenConfig& model, const RunPlan& start)
      : config_(config), model_(model), start_(start) {}

  Outcome plan(const Sequence& sequence) const {
    MemorySetup setup{config_, start_.ranks};
    Outcome outcome{{}, start_.fill(), true};
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      const MemoryRemedy& remedy = memory_remedies()[sequence[i]];
      if (!remedy.applies(setup)) return {{}, start_.fill(), false};
      remedy.apply(setup);
      const RunPlan plan = plan_of(setup);
      outcome.fill = plan.fill();
      const bool again = i > 0 && sequence[i - 1] == sequence[i];
      if (again) outcome.changes.pop_back();
      outcome.changes.push_back({.settings = settings_of(remedy, setup),
                                 .ranks = setup.ranks,
                                 .why = remedy.what,
                                 .on_ladder = sequence[i] < num_ladder_remedies(),
                                 .total_after = plan.total(),
                                 .host_after = plan.host_total(),
                                 .fits = plan.fits()});
    }
    return outcome;
  }

  bool fits(const Sequence& sequence) const { return plan(sequence).fits(); }
  double fill() const { return start_.fill(); }

  // Returns the sequence with the remedy behind it, as often as that helps by at least a hundredth
  // and more is needed; how often it takes to help once does not matter.
  Sequence with(Sequence taken, std::size_t remedy) const {
    double best = plan(taken).fill;
    Sequence tried = taken;
    while (best > 1) {
      tried.push_back(remedy);
      const Outcome outcome = plan(tried);
      if (!outcome.applicable) break;
      if (!outcome.helps(best)) continue;
      taken = tried;
      best = outcome.fill;
    }
    return taken;
  }

 private:
  RunPlan plan_of(const MemorySetup& setup) const {
    RunPlan plan = make_plan(setup.config, model_, setup.ranks, limited(start_.shape, setup.config),
                             start_.available_bytes);
    plan.host_available_bytes = start_.host_available_bytes;
    return plan;
  }

  const configs::Config& config_;
  const model::QwenConfig& model_;
  const RunPlan& start_;
};

Sequence take_helpful(const Planner& planner) {
  Sequence taken;
  for (std::size_t index = 0; index < memory_remedies().size(); ++index)
    taken = planner.with(std::move(taken), index);
  return taken;
}

// Returns what each remedy does without the others, in the list's order: the smallest change first.
std::vector<PlannedChange> each_alone(const Planner& planner) {
  std::vector<PlannedChange> alone;
  for (std::size_t index = 0; index < memory_remedies().size(); ++index) {
    const Sequence taken = planner.with({}, index);
    if (!taken.empty()) alone.push_back(planner.plan(taken).changes.back());
  }
  return alone;
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

std::string line_of(const PlannedChange& change, const RunPlan& before) {
  const std::string host =
      change.host_after > before.host_total()
          ? fmt::format(" (and {} on the host)", human_bytes(change.host_after))
          : "";
  return fmt::format("  {:>10}  {}{}: {}\n", human_bytes(change.total_after), change.arguments(),
                     host, change.why);
}

std::string alone_text(const Advice& advice, const RunPlan& plan) {
  std::string enough, rest;
  for (const PlannedChange& change : advice.alone)
    (change.fits ? enough : rest) += line_of(change, plan);
  std::string text;
  if (!enough.empty())
    text +=
        "one of these is enough, the smallest change first (each was planned again):\n" + enough;
  if (!rest.empty()) text += "not enough alone:\n" + rest;
  return text;
}

}  // namespace

std::string PlannedChange::arguments() const {
  return settings.empty() ? fmt::format("--ranks {}", ranks) : join(settings, " --set ");
}

Advice advise(const configs::Config& config, const model::QwenConfig& model, const RunPlan& plan) {
  if (plan.fits()) return {.changes = {}, .fits = true, .alone = {}};
  const Planner planner(config, model, plan);
  Outcome outcome = planner.plan(prune(take_helpful(planner), planner));
  const bool fits = outcome.fits();
  return {.changes = std::move(outcome.changes), .fits = fits, .alone = each_alone(planner)};
}

std::string format_advice(const Advice& advice, const RunPlan& plan) {
  if (plan.fits()) return "";
  std::string text = alone_text(advice, plan);
  if (advice.changes.empty()) return text + "not enough, and nothing is left to change\n";
  text +=
      "all together, in the order in which `muster launch` would begin (each was planned again):\n";
  std::string command;
  for (const PlannedChange& change : advice.changes) {
    text += line_of(change, plan);
    command += (change.settings.empty() ? " " : " --set ") + change.arguments();
  }
  if (advice.fits) return text + fmt::format("so it fits: muster plan CONFIG{}\n", command);
  return text + "that is not enough: take a smaller model, or more memory per rank\n";
}

}  // namespace muster::launcher
