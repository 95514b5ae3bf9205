// The program `muster` answers what needs no LibTorch. For everything else this process becomes
// muster-torch, which has every command.
#include <CLI/CLI.hpp>

#include "launcher/front/command_line.h"

int main(int argc, char** argv) {
  using namespace muster;
  CLI::App app{"muster", "muster"};
  app.require_subcommand(1);
  launcher::CommandLine cli{app, 0, argc, argv};
  for (auto* add :
       {launcher::add_submit, launcher::add_report, launcher::add_triage, launcher::add_doctor,
        launcher::add_status, launcher::add_serve, launcher::add_demo, launcher::add_version})
    add(cli);
  return launcher::run(cli);
}
