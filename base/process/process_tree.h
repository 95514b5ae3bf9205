// The launcher's processes: one command in a session of its own, and everything it leaves behind.
// As a subreaper the launcher adopts orphans, so after the command ended none of its descendants on
// this machine outlives sweep(). Processes that existed before the spawn are never touched.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/process/spawn.h"

namespace muster {

class ProcessTree {
 public:
  ProcessTree();
  ~ProcessTree();  // kills and reaps whatever is left
  ProcessTree(const ProcessTree&) = delete;
  ProcessTree& operator=(const ProcessTree&) = delete;

  // REQUIRES: no command runs. `extra` is set on top of this process's environment. Throws
  // PreflightError when the program cannot be started.
  void spawn(const std::vector<std::string>& argv, const Environment& extra);
  int output_fd() const { return output_.get(); }  // its stdout, non-blocking
  int error_fd() const { return error_.get(); }    // its stderr, non-blocking
  std::optional<int> poll();  // exit code (128 + signal) once the command has ended
  bool killed() const {
    return killed_;
  }  // it ended by a signal; an exit code above 128 may be its own
  bool running() const { return command_ > 0 && !exit_code_; }
  void signal(int signal);                 // to the command alone
  std::vector<pid_t> descendants() const;  // alive, without the ones that were there before
  // Sends TERM, then KILL, to what the command left behind when it ended. Returns how many had to
  // be signalled.
  int sweep(std::chrono::milliseconds grace);

 private:
  void reap_adopted();

  pid_t command_ = -1;
  std::optional<int> exit_code_;
  bool killed_ = false;
  Fd output_;
  Fd error_;
  std::set<pid_t> before_;
};

// The state letter of /proc/PID/stat (R, S, D, T, Z ...); 0 when there is no such process.
char process_state(pid_t pid);

struct CapturedRun {
  int exit_code = -1;  // -1: could not be started; 124: ran past the limit
  std::string output;  // stdout and stderr
};
// Past the limit the command and all of its process group are killed. Safe from several threads at
// once.
CapturedRun run_captured(const std::vector<std::string>& argv, std::chrono::seconds limit,
                         const Environment& extra = {});

}  // namespace muster
