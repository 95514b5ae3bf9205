// Each add_* function adds one subcommand to the command line; its callback does the work and
// either returns (exit code 0, or what it set) or throws a muster::Error, which run() prints once
// and turns into the documented exit code.
//
// The commands of this room need no LibTorch, whose loading costs 0.4 s of CPU. The program
// `muster` holds them alone and hands everything else over to muster-torch, which holds all.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "configs/config.h"
#include "launcher/doctor/judgements.h"

namespace CLI {
class App;
}

namespace muster::launcher {

class DetectBackend;

struct CommandLine {
  CLI::App& app;
  int exit_code = 0;
  int argc = 0;
  char** argv = nullptr;  // as the process was started
  // This part of doctor needs LibTorch. It is absent in `muster`, which hands over instead.
  std::function<std::vector<Finding>(const configs::Config& config, const NodeFacts& facts,
                                     int ranks)>
      examine_plan = {};
  // This part of serve needs LibTorch, likewise. `device`: "" for the one it was trained on.
  std::function<std::unique_ptr<DetectBackend>(const std::filesystem::path& checkpoint,
                                               const std::string& device)>
      open_detector = {};
  // False in `muster`, which holds the commands of this room alone.
  bool has_all() const { return examine_plan != nullptr; }
};

constexpr const char* kHelpHelp = "show this help";

// Adds a subcommand. `about` starts with a small letter, as all help texts do; `examples` are whole
// command lines, the most useful first, with which its help ends.
CLI::App& add_command(CommandLine& cli, const std::string& name, const std::string& about,
                      const std::vector<std::string>& examples);
std::vector<std::string> examples_of(const CLI::App& command);  // as they were given

void add_submit(CommandLine& cli);
void add_report(CommandLine& cli);
void add_triage(CommandLine& cli);
void add_doctor(CommandLine& cli);
void add_status(CommandLine& cli);
void add_demo(CommandLine& cli);
void add_version(CommandLine& cli);  // the option --version
void add_serve(CommandLine& cli);

// Becomes muster-torch, with the same arguments; an installed muster first finds, or fetches, the
// libraries it needs. Throws PreflightError when the program or a library is not there.
[[noreturn]] void hand_over(char** argv);

// Parses, runs the callback and returns the process's exit code; `muster` hands over what is none
// of its commands. Nothing else catches. Whatever is wrong with the words themselves is one line on
// stderr and exit code 64.
int run(CommandLine& cli);

}  // namespace muster::launcher
