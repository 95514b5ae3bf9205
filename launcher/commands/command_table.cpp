#include "launcher/commands/command_table.h"

namespace muster::launcher {

void add_commands(CommandLine& cli) {
  for (auto* add : {add_demo,     add_synth,  add_pack,   add_tokens,     add_look,     add_check,
                    add_plan,     add_launch, add_train,  add_submit,     add_eval,     add_predict,
                    add_generate, add_export, add_report, add_params,     add_memcheck, add_triage,
                    add_doctor,   add_status, add_serve,  add_completion, add_manual})
    add(cli);
}

}  // namespace muster::launcher
