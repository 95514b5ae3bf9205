// The program `muster` answers what needs no LibTorch. For everything else this process becomes
// muster-torch, which has every command.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/error.h"
#include "launcher/front/command_line.h"

int main(int argc, char** argv) {
  using namespace muster;
  CLI::App app{"muster", "muster"};
  app.require_subcommand(1);
  launcher::CommandLine cli{app, 0, argc, argv};
  try {
    if (!launcher::is_front_command(argc, argv)) launcher::hand_over(argv);
  } catch (const Error& error) {
    fmt::print(stderr, "muster: {}\n", error.what());
    return static_cast<int>(error.exit_code());
  }
  for (auto* add : {launcher::add_submit, launcher::add_report, launcher::add_triage,
                    launcher::add_doctor, launcher::add_status})
    add(cli);
  return launcher::run(cli);
}
