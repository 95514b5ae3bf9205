// SIGUSR2 and SIGTERM mean "checkpoint now and leave with 75". The handler only sets a flag; ranks
// agree on the step boundary through the step consensus.
#pragma once

namespace muster::trainer {

void install_stop_signals();
bool stop_signalled();
void signal_stop();  // as a handler would; for tests, with
void clear_stop();

}  // namespace muster::trainer
