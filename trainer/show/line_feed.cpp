#include "trainer/show/line_feed.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace muster::trainer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kGlance{50};  // between two looks at a process or a clock

// A program that has gone answers with an error, not with a signal.
void take_no_sigpipe() {
  sigset_t broken_pipe;
  ::sigemptyset(&broken_pipe);
  ::sigaddset(&broken_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
}

// Its exit code once it has ended, at `deadline` at the latest; -1: it runs.
int ended_by(pid_t pid, Clock::time_point deadline) {
  for (;;) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) return exit_code_of(status);
    if (Clock::now() >= deadline) return -1;
    std::this_thread::sleep_for(kGlance);
  }
}

}  // namespace

LineFeed::LineFeed(Options options) : options_(std::move(options)) {
  Pipe pipe;
  try {
    pipe = make_pipe();
    const Spawned program = spawn({.argv = options_.command,
                                   .environment = options_.environment,
                                   .input = pipe.read_end.get(),
                                   .output = STDERR_FILENO,
                                   .group = Spawn::Group::kItsOwn,
                                   .complaint = {}});
    pid_ = program.pid;
    alive_ = program.exec_error == 0;
    if (!alive_) {
      ::waitpid(pid_, nullptr, 0);
      log::warn("logging.command: {} cannot be started: {}; the run goes on without it",
                options_.command.front(), std::strerror(program.exec_error));
    }
  } catch (const Error& error) {
    log::warn("logging.command: {}; the run goes on without it", error.what());
  }
  if (!alive_) return;
  input_ = std::move(pipe.write_end);
  ::fcntl(input_.get(), F_SETFL, O_NONBLOCK);
  writer_ = std::thread([this] { write_all_lines(); });
}

void LineFeed::add(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (!alive_) {
    ++lost_;
    return;
  }
  if (waiting_bytes_ + line.size() > options_.most_bytes) {
    if (lost_++ == 0)
      log::warn("logging.command: {} reads too slowly: {} wait for it, lines are lost from here on",
                options_.command.front(), human_bytes(static_cast<std::int64_t>(waiting_bytes_)));
    return;
  }
  waiting_bytes_ += line.size();
  waiting_.push_back(line);
  changed_.notify_one();
}

std::int64_t LineFeed::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void LineFeed::write_all_lines() {
  take_no_sigpipe();
  for (;;) {
    std::string text;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      text = waiting_.front() + "\n";
      waiting_bytes_ -= waiting_.front().size();
      waiting_.pop_front();
    }
    while (!text.empty()) {
      if (write_some(text)) continue;
      const std::lock_guard lock(mutex_);
      alive_ = false;
      lost_ += 1 + static_cast<std::int64_t>(waiting_.size());
      waiting_.clear();
      return;
    }
  }
}

// False when nobody will read any more.
bool LineFeed::write_some(std::string& text) {
  const ssize_t written = ::write(input_.get(), text.data(), text.size());
  if (written > 0) {
    text.erase(0, static_cast<std::size_t>(written));
    return true;
  }
  if (errno == EINTR) return true;
  if (errno != EAGAIN) {
    warn_that_it_ended();
    return false;
  }
  pollfd room{.fd = input_.get(), .events = POLLOUT, .revents = 0};
  ::poll(&room, 1, static_cast<int>(kGlance.count()));
  return !give_up_waiting();
}

bool LineFeed::give_up_waiting() {
  const std::lock_guard lock(mutex_);
  return closing_ && Clock::now() >= deadline_;
}

void LineFeed::warn_that_it_ended() {
  const int code = ended_by(pid_, Clock::now() + std::chrono::seconds(1));
  if (code >= 0) pid_ = -1;
  log::warn("logging.command: {} {}; the run goes on without it", options_.command.front(),
            code < 0 ? "reads no more" : "ended with code " + std::to_string(code));
}

LineFeed::~LineFeed() {
  if (!writer_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    deadline_ = Clock::now() + options_.patience;
    changed_.notify_one();
  }
  writer_.join();
  input_.reset();
  if (pid_ > 0) {
    int code = ended_by(pid_, deadline_);
    for (const int signal : {SIGTERM, SIGKILL}) {
      if (code >= 0) break;
      ::kill(-pid_, signal);
      code = ended_by(pid_, Clock::now() + std::chrono::seconds(2));
    }
    if (code != 0)
      log::warn("logging.command: {} ended with code {}", options_.command.front(), code);
  }
  if (lost_ > 0)
    log::warn("logging.command: {} lines did not reach {}; metrics.jsonl has all of them", lost_,
              options_.command.front());
}

}  // namespace muster::trainer
