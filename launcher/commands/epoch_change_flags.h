// --finish-epoch and --restart-epoch, of launch and train.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "trainer/checkpoint/resume_contract.h"

namespace muster::launcher {

struct EpochChangeFlags {
  bool finish = false;
  bool restart = false;

  void add_to(CLI::App& command) {
    CLI::Option* finishes = command.add_flag(
        "--finish-epoch", finish,
        "if the order of the data changed inside an epoch: end it with the checkpoint's values, "
        "and begin the next with the config's");
    command
        .add_flag("--restart-epoch", restart,
                  "if it changed: begin that epoch anew with the config's values")
        ->excludes(finishes);
  }

  trainer::EpochChange change() const {
    if (finish) return trainer::EpochChange::kFinish;
    return restart ? trainer::EpochChange::kRestart : trainer::EpochChange::kRefuse;
  }

  // As on a command line.
  std::vector<std::string> words() const {
    std::vector<std::string> all;
    if (finish) all.emplace_back("--finish-epoch");
    if (restart) all.emplace_back("--restart-epoch");
    return all;
  }
};

}  // namespace muster::launcher
