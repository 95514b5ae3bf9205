#include "trainer/stop_signal.h"

#include <csignal>

namespace muster::trainer {
namespace {

volatile std::sig_atomic_t stop_flag = 0;
void on_signal(int) { stop_flag = 1; }

}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool stop_signalled() { return stop_flag != 0; }
void signal_stop() { stop_flag = 1; }
void clear_stop() { stop_flag = 0; }

}  // namespace muster::trainer
