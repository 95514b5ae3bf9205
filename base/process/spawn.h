// The one way in which muster starts a process: fork and exec, with nothing of ours leaking into
// the program (no blocked signals, no handlers, no open descriptors but the three it is given).
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "base/process/fd.h"

namespace muster {

using Environment = std::map<std::string, std::string>;

struct Pipe {
  Fd read_end, write_end;
};
Pipe make_pipe();  // close-on-exec; throws PreflightError

struct Spawn {
  enum class Group { kOfParent, kItsOwn, kOwnSession };

  std::vector<std::string> argv;  // the program is looked up in PATH
  Environment environment;        // set on top of this process's own
  int input = -1;                 // its stdin, stdout and stderr; -1: this process's own
  int output = -1;
  int error = -1;
  Group group = Group::kOfParent;
  int signal_when_parent_goes = 0;  // sent to it when the starting thread ends; 0: none
  int ignored_signal = 0;           // until it installs a handler of its own; 0: none
  // Written to its stderr, with the reason, when it cannot be executed; empty: nothing is.
  std::string complaint;
};

struct Spawned {
  pid_t pid = -1;
  int exec_error = 0;  // errno of the exec that failed; such a process ends with kCannotExec
};

inline constexpr int kCannotExec = 127;

// Returns once the program runs or could not be executed. The caller waits for the process. Safe
// from several threads at once. Throws PreflightError when the system gives no process.
Spawned spawn(const Spawn& what);

int exit_code_of(int wait_status);  // 128 + signal after a signal
int wait_for(pid_t child);          // its exit code, once it has ended

}  // namespace muster
