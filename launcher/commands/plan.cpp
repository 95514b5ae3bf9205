// muster plan CONFIG [--ranks N]: bytes per rank and traffic per step; does it fit.
#include <fmt/core.h>

#include "launcher/commands.h"
#include "launcher/plan.h"
#include "launcher/run_context.h"
#include "launcher/world.h"
#include "trainer/from_config.h"

namespace muster::launcher {

void add_plan(CommandLine& cli) {
  CLI::App* command = cli.app.add_subcommand("plan", "Bytes per rank and traffic per step for N ranks; does it fit");
  auto arguments = std::make_shared<ConfigArguments>();
  auto ranks = std::make_shared<int>(1);
  arguments->add_to(*command);
  command->add_option("--ranks,-n", *ranks, "world size")->check(CLI::PositiveNumber);
  command->callback([arguments, ranks] {
    const configs::Config config = arguments->load();
    check_world(*ranks, config.batch.micro_batches_per_step);
    const model::QwenConfig model = model::read_config(trainer::find_model(config.model));
    fmt::print("{}", format_plan(make_plan(config, model, *ranks), config, *ranks));
  });
}

}  // namespace muster::launcher
