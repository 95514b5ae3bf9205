// Signals as data: the wanted ones are blocked in this thread (create the hub before other threads
// start) and read from a file descriptor, so nothing ever runs inside a signal handler.
#pragma once

#include <sys/signalfd.h>
#include <sys/types.h>

#include <csignal>
#include <functional>
#include <initializer_list>
#include <optional>
#include <thread>

namespace muster {

class SignalHub {
 public:
  explicit SignalHub(std::initializer_list<int> signals);
  ~SignalHub();  // restores the mask
  SignalHub(const SignalHub&) = delete;
  SignalHub& operator=(const SignalHub&) = delete;

  int fd() const { return fd_; }
  std::optional<signalfd_siginfo> next();  // nothing when none is waiting

 private:
  int fd_ = -1;
  sigset_t old_mask_{};
};

// A thread that takes no signal of the process: they are its SignalHub's, whose descriptor would
// not see what another thread was given.
std::thread thread_without_signals(std::function<void()> run);

// A child calls it between fork and exec: no signal stays blocked and all have their default
// actions, since a program must not inherit our choices.
void reset_signals_for_exec();

// A child asks for this signal when its parent goes. False when the parent is gone already.
bool die_with_parent(int signal, pid_t parent);

}  // namespace muster
