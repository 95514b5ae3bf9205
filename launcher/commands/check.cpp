// muster check CONFIG tells everything that can be known before training; --help-config lists every
// key, --batch and --gradients look at the first micro-batch instead.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/machine.h"
#include "data/sample_set.h"
#include "data/sampler.h"
#include "launcher/commands/check_batch.h"
#include "launcher/commands/check_gradients.h"
#include "launcher/commands/command_table.h"
#include "launcher/doctor/judgements.h"
#include "launcher/front/config_arguments.h"
#include "launcher/plan/hours.h"
#include "launcher/plan/text.h"
#include "trainer/assembly/model_check.h"
#include "trainer/assembly/options.h"
#include "trainer/assembly/run_data.h"
#include "trainer/assembly/run_length.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/evaluation.h"

namespace muster::launcher {
namespace {

struct CheckOptions {
  ConfigArguments config;
  bool help_config = false;
  bool batch = false;
  bool gradients = false;
  bool anomaly = false;
  std::string replay;
  bool json = false;
  int ranks = 1;
};

// What a set holds, on one line without an end.
void print_set(const char* key, const data::SampleSet& set,
               const std::vector<data::SampleSize>& sizes) {
  std::int64_t objects = 0;
  std::int64_t longest = 0;
  std::int64_t vision = 0;
  for (std::int64_t i = 0; i < set.size(); ++i)
    objects += static_cast<std::int64_t>(set.sample(i).objects.size());
  for (const data::SampleSize& size : sizes) {
    longest = std::max(longest, size.tokens);
    vision = std::max(vision, size.vision_tokens);
  }
  const auto dropped = std::ranges::count_if(sizes, [](const auto& size) { return size.dropped; });
  fmt::print(
      "{:<16}{} samples, {} objects, {} classes; longest {} tokens, {} of vision; {} over the "
      "budget dropped",
      key, set.size(), objects, set.class_map().size(), longest, vision, dropped);
}

void check_data(const configs::Config& config) {
  const trainer::RunData data(config);
  print_set("data.train", data.train, data.sampler.sizes());
  const data::FillReport epoch = data.sampler.report(data.sampler.epoch(0));
  fmt::print(
      "; {} steps an epoch, micro-batches {:.1f} % full, their costs' mean {:.1f} % of a "
      "step's largest\n",
      epoch.steps, 100 * epoch.fill, 100 * epoch.balance);
  const auto length = trainer::report_length(config.schedule, data.sampler, data.train);
  fmt::print("{}", length_text(config, length, std::nullopt));
  if (!data.captions.words.empty())
    fmt::print("captions        {}\n",
               trainer::words_text(data.captions, data.model.text.vocab_size));
  if (!data.val) return;
  trainer::check_best_metric(config, *data.val);
  print_set("data.val", *data.val, trainer::sizes_of(config, *data.val, data.encoder));
  fmt::print("\n");
  if (data.val_captions.unsaid > 0)
    fmt::print("warning         {}\n", trainer::unsaid_text(data.val_captions));
}

void check_all(const CheckOptions& options, const configs::Config& config) {
  fmt::print("config          {}: complete and in range\n", options.config.file);
  for (const std::string& warning : configs::warnings(config))
    fmt::print("warning         {}\n", warning);
  const Finding products = judge_products(config, has_bf16_products());
  if (products.level != Level::kOk)
    fmt::print("warning         {}. Fix: {}\n", products.what, products.fix);
  const model::QwenConfig model = model::read_config(trainer::find_model(config.model));
  const trainer::ModelCheck checked = trainer::check_model(config, model);
  if (!checked.config.empty()) fmt::print("model           {}\n", checked.config);
  fmt::print("weights         {}\nprocessor       {}\n", checked.weights, checked.processor);
  const data::Tokenizer tokenizer = trainer::checked_tokenizer(config, model);
  fmt::print(
      "tokens          {} special tokens have the ids expected; {} ids, {} rows of the embedding\n",
      config.tokens.expected.size(), tokenizer.size(), model.text.vocab_size);
  check_data(config);
  fmt::print("\n{}", format_plan(make_plan(config, model, options.ranks), config, false));
}

ExitCode check(const CheckOptions& options) {
  if (options.help_config) {
    fmt::print("{}", configs::describe_fields(false));
    return ExitCode::kDone;
  }
  if (options.config.file.empty())
    throw UsageError("check: give a CONFIG, or --help-config for the list of keys");
  const bool gradients = options.gradients || options.anomaly || !options.replay.empty();
  if (options.json && !options.batch && !gradients)
    throw UsageError("check: --json is for --batch, --gradients, --anomaly and --replay");
  const configs::Config config = options.config.load();
  if (gradients) return check_gradients(config, options.replay, options.anomaly, options.json);
  if (options.batch) {
    check_batch(config, options.json);
  } else {
    check_all(options, config);
  }
  return ExitCode::kDone;
}

}  // namespace

void add_check(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "check", "everything that can be known before training",
                  {"muster check configs/demo.yaml -n 2", "muster check configs/demo.yaml --batch",
                   "muster check configs/demo.yaml --gradients --json",
                   "muster check configs/demo.yaml --replay runs/demo/bad_batches/FILE.safetensors",
                   "muster check --help-config"});
  const auto options = std::make_shared<CheckOptions>();
  options->config.add_optional_to(command, "not needed with --help-config");
  command.add_option("-n,--ranks", options->ranks, "world size of the memory plan")
      ->check(CLI::PositiveNumber);
  command.add_flag("--help-config", options->help_config,
                   "every key with type, range, unit and meaning");
  CLI::Option* batch =
      command.add_flag("--batch", options->batch,
                       "the first micro-batch instead: tensors, pictures, texts, targets");
  command
      .add_flag("--gradients", options->gradients,
                "its gradients instead: one forward and backward, a table by parameter")
      ->excludes(batch);
  command
      .add_flag("--anomaly", options->anomaly,
                "with --gradients: name the operation that makes the first NaN; slow")
      ->excludes(batch);
  command
      .add_option("--replay", options->replay,
                  "the gradients of a micro-batch that health kept (run.dir/bad_batches), on the "
                  "run's newest weights, with --anomaly")
      ->excludes(batch)
      ->check(CLI::ExistingFile);
  command.add_flag("--json", options->json,
                   "one JSON object on stdout, of --batch, --gradients, --anomaly or --replay");
  command.callback([&cli, options] { cli.exit_code = static_cast<int>(check(*options)); });
}

}  // namespace muster::launcher
