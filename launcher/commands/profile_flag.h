// --profile, of launch and train.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "trainer/profile.h"

namespace muster::launcher {

struct ProfileFlag {
  std::string text;  // "": not asked for

  void add_to(CLI::App& command) {
    command
        .add_option("--profile", text,
                    "steps=FIRST..LAST: a trace of these steps in run.dir/profile, one file per "
                    "rank (docs/profile.md)")
        ->check([](const std::string& given) -> std::string {
          try {
            trainer::ProfiledSteps::parse(given);
            return "";
          } catch (const UsageError& error) {
            return error.what();
          }
        });
  }

  bool asked() const { return !text.empty(); }
  trainer::ProfiledSteps steps() const { return trainer::ProfiledSteps::parse(text); }

  // As on a command line.
  std::vector<std::string> words() const {
    if (!asked()) return {};
    return {"--profile", text};
  }
};

}  // namespace muster::launcher
