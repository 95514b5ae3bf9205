// The command table. Each function adds one subcommand to the CLI; its callback does the work and
// either returns (exit code 0, or what it set) or throws a muster::Error, which main prints once
// and turns into the documented exit code.
#pragma once

namespace CLI {
class App;
}

namespace muster::launcher {

struct CommandLine {
  CLI::App& app;
  int exit_code = 0;
  int argc = 0;
  char** argv = nullptr;  // as the process was started
};

void add_commands(CommandLine& cli);  // all of them, with their examples

void add_synth(CommandLine& cli);
void add_pack(CommandLine& cli);
void add_tokens(CommandLine& cli);
void add_check(CommandLine& cli);
void add_plan(CommandLine& cli);
void add_launch(CommandLine& cli);
void add_train(CommandLine& cli);
void add_submit(CommandLine& cli);
void add_status(CommandLine& cli);
void add_eval(CommandLine& cli);
void add_predict(CommandLine& cli);
void add_generate(CommandLine& cli);
void add_export(CommandLine& cli);
void add_report(CommandLine& cli);
void add_params(CommandLine& cli);
void add_memcheck(CommandLine& cli);
void add_triage(CommandLine& cli);
void add_doctor(CommandLine& cli);
void add_completion(CommandLine& cli);

}  // namespace muster::launcher
