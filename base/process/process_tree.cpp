#include "base/process/process_tree.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/process/signal_hub.h"

namespace muster {
namespace {

using namespace std::chrono_literals;
constexpr int kCannotExec = 127;

struct Stat {
  pid_t parent = 0;
  char state = 0;
};

// "PID (name) S PPID ...": the name may hold spaces and brackets, so the scan starts at the last
// ')'.
std::optional<Stat> read_stat(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  const auto end = line.rfind(')');
  Stat stat;
  if (end == std::string::npos ||
      std::sscanf(line.c_str() + end + 1, " %c %d", &stat.state, &stat.parent) != 2) {
    return std::nullopt;
  }
  return stat;
}

std::map<pid_t, Stat> all_processes() {
  std::map<pid_t, Stat> all;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    if (const auto stat = read_stat(pid)) all[pid] = *stat;
  }
  return all;
}

// Every descendant of `root`, zombies included. A parent may have a larger id than its child:
// repeat until stable.
std::map<pid_t, Stat> descendants_of(pid_t root) {
  const auto all = all_processes();
  std::map<pid_t, Stat> found;
  for (bool grew = true; grew;) {
    grew = false;
    for (const auto& [pid, stat] : all) {
      if (found.contains(pid) || (stat.parent != root && !found.contains(stat.parent))) continue;
      found[pid] = stat;
      grew = true;
    }
  }
  return found;
}

int exit_code_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

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
  for (const auto& [name, value] : extra) merged.push_back(name + "=" + value);
  return merged;
}

// Fork and exec, with stdout and stderr in one pipe whose read end is returned. Between fork and
// exec only async-signal-safe calls: another thread may hold the allocator's lock.
pid_t start(const std::vector<std::string>& argv, const Environment& extra, int* output) {
  const auto environment = merged_environment(extra);
  const auto arguments = c_array(argv), variables = c_array(environment);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
    throw PreflightError(fmt::format("pipe: {}", std::strerror(errno)));
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();  // Ctrl-C in the terminal reaches the launcher alone
    if (!die_with_parent(SIGTERM, parent)) ::_exit(kCannotExec);
    reset_signals_for_exec();
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(pipe[1], STDOUT_FILENO);
    ::dup2(pipe[1], STDERR_FILENO);
    ::execvpe(arguments[0], arguments.data(), variables.data());
    ::_exit(kCannotExec);
  }
  ::close(pipe[1]);
  if (child < 0) {
    ::close(pipe[0]);
    throw PreflightError(fmt::format("cannot start {}: {}", argv.front(), std::strerror(errno)));
  }
  *output = pipe[0];
  return child;
}

}  // namespace

ProcessTree::ProcessTree() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

ProcessTree::~ProcessTree() {
  if (running()) {
    signal(SIGKILL);
    int ignored = 0;
    ::waitpid(command_, &ignored, 0);
    exit_code_ = 128 + SIGKILL;
  }
  if (command_ > 0) sweep(500ms);
  if (output_fd_ >= 0) ::close(output_fd_);
}

void ProcessTree::spawn(const std::vector<std::string>& argv, const Environment& extra) {
  if (output_fd_ >= 0) ::close(output_fd_);
  before_.clear();
  for (const auto& [pid, stat] : descendants_of(::getpid())) before_.insert(pid);
  exit_code_.reset();
  killed_ = false;
  command_ = start(argv, extra, &output_fd_);
  ::fcntl(output_fd_, F_SETFL, O_NONBLOCK);
}

std::optional<int> ProcessTree::poll() {
  int status = 0;
  if (running() && ::waitpid(command_, &status, WNOHANG) == command_) {
    exit_code_ = exit_code_of(status);
    killed_ = WIFSIGNALED(status);
  }
  return exit_code_;
}

void ProcessTree::signal(int signal) {
  if (running()) ::kill(command_, signal);
}

std::vector<pid_t> ProcessTree::descendants() const {
  std::vector<pid_t> alive;
  for (const auto& [pid, stat] : descendants_of(::getpid())) {
    if (stat.state != 'Z' && !before_.contains(pid)) alive.push_back(pid);
  }
  return alive;
}

void ProcessTree::reap_adopted() {
  for (const auto& [pid, stat] : descendants_of(::getpid())) {
    if (stat.parent == ::getpid() && !before_.contains(pid)) ::waitpid(pid, nullptr, WNOHANG);
  }
}

// First time to leave by themselves, then TERM (a wrapper still writes its rank's status), then
// KILL.
int ProcessTree::sweep(std::chrono::milliseconds grace) {
  std::set<pid_t> signalled;
  for (const int step : {0, SIGTERM, SIGKILL}) {
    const auto until = std::chrono::steady_clock::now() + (step == SIGKILL ? 5s : grace);
    for (const pid_t pid : descendants()) {
      if (step == 0) break;
      ::kill(pid, step);
      signalled.insert(pid);
    }
    while (!descendants().empty() && std::chrono::steady_clock::now() < until) {
      if (step == SIGKILL) {
        for (const pid_t pid : descendants()) ::kill(pid, SIGKILL);  // it may have forked meanwhile
      }
      std::this_thread::sleep_for(10ms);
      reap_adopted();
    }
    reap_adopted();
    if (descendants().empty()) break;
  }
  return static_cast<int>(signalled.size());
}

char process_state(pid_t pid) {
  const auto stat = read_stat(pid);
  return stat ? stat->state : '\0';
}

CapturedRun run_captured(const std::vector<std::string>& argv, std::chrono::seconds limit,
                         const Environment& extra) {
  CapturedRun run;
  int output = -1;
  const pid_t child = start(argv, extra, &output);
  const auto until = std::chrono::steady_clock::now() + limit;
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd waiting{output, POLLIN, 0};
    if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) == 0) {
      ::kill(-child, SIGKILL);  // it leads a session of its own
      ::kill(child, SIGKILL);
      run.exit_code = 124;
      break;
    }
    const ssize_t n = ::read(output, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    run.output.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(output);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (run.exit_code != 124)
    run.exit_code = exit_code_of(status) == kCannotExec ? -1 : exit_code_of(status);
  return run;
}

}  // namespace muster
