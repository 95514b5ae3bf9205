#include "launcher/plan/hours.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "trainer/assembly/options.h"
#include "trainer/assembly/run_data.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"

namespace muster::launcher {
namespace {

trainer::LengthReport length_in_packs(const configs::Config& config,
                                      const model::QwenConfig& model) {
  const data::Tokenizer tokenizer = trainer::checked_tokenizer(config, model);
  const data::SampleEncoder encoder(tokenizer, trainer::encode_options(config, model));
  const data::SampleSet set = trainer::open_training_set(config);
  const data::TrainingSamples samples = trainer::training_samples(config, set, encoder);
  const data::Sampler sampler =
      trainer::training_sampler(config, model, samples, encoder,
                                trainer::count_caption_words(set, tokenizer, config.detection));
  return trainer::report_length(config.schedule, sampler, set);
}

std::string hours_text(const configs::Config& config, std::int64_t steps,
                       std::optional<double> simulated_step_s) {
  const auto whole = [steps](double step_s) {
    return human_seconds(step_s * static_cast<double>(steps));
  };
  if (const auto step_s = measured_step_s(config.run.dir))
    return fmt::format("{} at {:.3g} s a step, as the newest steps in {} took", whole(*step_s),
                       *step_s, config.run.dir);
  if (simulated_step_s)
    return fmt::format("about {} at {:.3g} s a step, simulated: --tflops says what a GPU sustains",
                       whole(*simulated_step_s), *simulated_step_s);
  return "not known before the first steps; the log says them after six";
}

}  // namespace

trainer::LengthReport planned_length(const configs::Config& config,
                                     const model::QwenConfig& model) {
  const std::vector<fs::path> packs = configs::pack_files(config.data.train);
  const bool packed =
      std::ranges::all_of(packs, [](const fs::path& pack) { return fs::exists(pack); });
  if (packed && fs::exists(config.tokens.tokenizer)) {
    try {
      return length_in_packs(config, model);
    } catch (const Error& error) {
      log::warn("the length in epochs is not known: {}", error.what());
    }
  }
  return {.steps = config.schedule.max_steps.value_or(0)};
}

std::optional<double> measured_step_s(const fs::path& run_dir) {
  constexpr std::size_t kNewest = 100;
  const fs::path file = run_dir / "metrics.jsonl";
  if (!fs::exists(file)) return std::nullopt;
  std::vector<double> seconds;
  for (const auto& row : trainer::read_metrics(file)) {
    const auto found = row.find(std::string(trainer::metric::kSeconds));
    if (found != row.end() && row.at(std::string(trainer::metric::kStep)) > 1)
      seconds.push_back(found->second);
  }
  if (seconds.empty()) return std::nullopt;
  const std::size_t count = std::min(kNewest, seconds.size());
  double sum = 0;
  for (std::size_t i = seconds.size() - count; i < seconds.size(); ++i) sum += seconds[i];
  return sum / static_cast<double>(count);
}

std::string length_text(const configs::Config& config, const trainer::LengthReport& length,
                        std::optional<double> simulated_step_s) {
  if (length.steps == 0)
    return fmt::format("{:<16}{} epochs; steps and hours need data.train\n", "length",
                       config.schedule.epochs.value_or(0));
  const std::string steps = length.steps_per_epoch > 0
                                ? length.text()
                                : fmt::format("{} steps; epochs need data.train", length.steps);
  std::string text = fmt::format("{:<16}{}\n{:<16}{}\n", "length", steps, "hours",
                                 hours_text(config, length.steps, simulated_step_s));
  if (length.steps_per_epoch == 0) return text;
  for (const std::string& warning : length.warnings())
    text += fmt::format("{:<16}{}\n", "warning", warning);
  return text;
}

}  // namespace muster::launcher
