#include "base/process/spawn.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"
#include "base/process/signal_hub.h"

namespace muster {
namespace {

std::vector<char*> c_array(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> merged_environment(const Environment& extra) {
  std::vector<std::string> merged;
  for (char** it = ::environ; *it != nullptr; ++it) {
    const std::string entry = *it;
    if (!extra.contains(entry.substr(0, entry.find('=')))) merged.push_back(entry);
  }
  for (const auto& [name, value] : extra) merged.push_back(fmt::format("{}={}", name, value));
  return merged;
}

void complain(const std::string& complaint, int error) {
  const char* why = ::strerrordesc_np(error);
  write_until_done(STDERR_FILENO, complaint);
  write_until_done(STDERR_FILENO, ": ");
  write_until_done(STDERR_FILENO, why != nullptr ? why : "unknown error");
  write_until_done(STDERR_FILENO, "\n");
}

// The child's side. Another thread of the parent may have held the allocator's lock at the fork:
// only async-signal-safe calls from here to the exec.
[[noreturn]] void become(const Spawn& what, char* const* argv, char* const* environment,
                         pid_t parent, int report) {
  if (what.group == Spawn::Group::kOwnSession) ::setsid();
  if (what.group == Spawn::Group::kItsOwn) ::setpgid(0, 0);
  const bool orphan =
      what.signal_when_parent_goes != 0 && !die_with_parent(what.signal_when_parent_goes, parent);
  if (orphan) ::_exit(kCannotExec);
  reset_signals_for_exec();
  if (what.ignored_signal != 0) ::signal(what.ignored_signal, SIG_IGN);
  if (what.input >= 0) ::dup2(what.input, STDIN_FILENO);
  if (what.output >= 0) ::dup2(what.output, STDOUT_FILENO);
  if (what.error >= 0) ::dup2(what.error, STDERR_FILENO);
  ::execvpe(argv[0], argv, environment);
  const int error = errno;
  if (!what.complaint.empty()) complain(what.complaint, error);
  write_until_done(report, {reinterpret_cast<const char*>(&error), sizeof error});
  ::_exit(kCannotExec);
}

// What the child reports; the end of the stream, which exec closes, means that it runs.
int exec_error(int report) {
  int error = 0;
  while (::read(report, &error, sizeof error) < 0 && errno == EINTR) continue;
  return error;
}

}  // namespace

Pipe make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0)
    throw PreflightError(fmt::format("pipe: {}", std::strerror(errno)));
  return {Fd(fds[0]), Fd(fds[1])};
}

Spawned spawn(const Spawn& what) {
  const std::vector<std::string> environment = merged_environment(what.environment);
  const std::vector<char*> argv = c_array(what.argv);
  const std::vector<char*> variables = c_array(environment);
  Pipe report = make_pipe();
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become(what, argv.data(), variables.data(), parent, report.write_end.get());
  if (child < 0)
    throw PreflightError(
        fmt::format("cannot start {}: {}", what.argv.front(), std::strerror(errno)));
  report.write_end.reset();
  return {child, exec_error(report.read_end.get())};
}

int exit_code_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return exit_code_of(status);
}

}  // namespace muster
