// Here stand the commands that need LibTorch, and the table of all commands.
#pragma once

#include "launcher/front/command_line.h"

namespace muster::launcher {

void add_commands(CommandLine& cli);  // all, those of launcher/front too

void add_synth(CommandLine& cli);
void add_pack(CommandLine& cli);
void add_tokens(CommandLine& cli);
void add_look(CommandLine& cli);
void add_check(CommandLine& cli);
void add_plan(CommandLine& cli);
void add_launch(CommandLine& cli);
void add_train(CommandLine& cli);
void add_eval(CommandLine& cli);
void add_predict(CommandLine& cli);
void add_generate(CommandLine& cli);
void add_export(CommandLine& cli);
void add_params(CommandLine& cli);
void add_memcheck(CommandLine& cli);
void add_completion(CommandLine& cli);
void add_manual(CommandLine& cli);

}  // namespace muster::launcher
