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
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/files.h"

namespace muster {
namespace {

using namespace std::chrono_literals;

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

struct Started {
  pid_t pid = -1;
  Fd output;
  Fd error;  // none when stdout and stderr are one
};

enum class Streams : std::uint8_t { kTogether, kApart };

// The command leads a session of its own, so Ctrl-C in the terminal reaches the launcher alone.
Started start(const std::vector<std::string>& argv, const Environment& extra, Streams streams) {
  Pipe pipe = make_pipe();
  Pipe error;
  if (streams == Streams::kApart) error = make_pipe();
  const Fd nothing = Fd::open("/dev/null", O_RDONLY);
  Spawn what;
  what.argv = argv;
  what.environment = extra;
  what.input = nothing.get();
  what.output = pipe.write_end.get();
  what.error = (error.write_end ? error : pipe).write_end.get();
  what.group = Spawn::Group::kOwnSession;
  what.signal_when_parent_goes = SIGTERM;
  const Spawned child = muster::spawn(what);
  return {child.pid, std::move(pipe.read_end), std::move(error.read_end)};
}

}  // namespace

ProcessTree::ProcessTree() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

ProcessTree::~ProcessTree() {
  if (running()) {
    signal(SIGKILL);
    wait_for(command_);
    exit_code_ = 128 + SIGKILL;
  }
  if (command_ > 0) sweep(500ms);
}

void ProcessTree::spawn(const std::vector<std::string>& argv, const Environment& extra) {
  before_.clear();
  for (const auto& [pid, stat] : descendants_of(::getpid())) before_.insert(pid);
  exit_code_.reset();
  killed_ = false;
  Started started = start(argv, extra, Streams::kApart);
  command_ = started.pid;
  output_ = std::move(started.output);
  error_ = std::move(started.error);
  for (const int fd : {output_.get(), error_.get()}) ::fcntl(fd, F_SETFL, O_NONBLOCK);
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

// The processes first get time to leave by themselves, then TERM (a wrapper still writes its rank's
// status), then KILL.
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
  const auto [child, output, error] = start(argv, extra, Streams::kTogether);
  const auto until = std::chrono::steady_clock::now() + limit;
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd waiting{output.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) == 0) {
      ::kill(-child, SIGKILL);  // it leads a session of its own
      ::kill(child, SIGKILL);
      run.exit_code = 124;
      break;
    }
    const ssize_t n = ::read(output.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    run.output.append(buffer.data(), static_cast<std::size_t>(n));
  }
  const int code = wait_for(child);
  if (run.exit_code != 124) run.exit_code = code == kCannotExec ? -1 : code;
  return run;
}

}  // namespace muster
