// The hidden command that mpirun or srun starts once per rank.
#include "launcher/rank_wrap.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "launcher/commands.h"

namespace muster::launcher {

void add_rank_wrap(CommandLine& cli) {
  auto spec = std::make_shared<WrapSpec>();
  CLI::App* command = cli.app.add_subcommand("rank-wrap", "internal: run one rank and keep its true exit status");
  command->group("");
  command->add_option("--run-dir", spec->run_dir)->required();
  command->add_option("--attempt", spec->attempt)->required();
  command->add_option("--max-output-bytes", spec->max_output_bytes);
  command->add_option("program", spec->program, "after --")->required();
  command->callback([&cli, spec] { cli.exit_code = run_wrapped(*spec); });
}

}  // namespace muster::launcher
