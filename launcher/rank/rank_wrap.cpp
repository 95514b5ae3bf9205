#include "launcher/rank/rank_wrap.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/flight_recorder.h"
#include "base/process/bounded_file.h"
#include "base/process/fd.h"
#include "base/process/signal_hub.h"
#include "base/process/spawn.h"
#include "base/text.h"
#include "launcher/rank/beat_sender.h"
#include "launcher/rank/console.h"
#include "launcher/rank/local_box.h"
#include "launcher/rank/mpi_segments.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/world.h"

namespace muster::launcher {
namespace {

// So many lines of each rank but the first reach the terminal: enough to see what happens, too few
// to drown the others.
constexpr std::size_t kShownLines = 200;

class Wrapper {
 public:
  Wrapper(const WrapSpec& spec, const WorldEnvironment& world)
      : spec_(spec),
        world_(world),
        signals_{SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD},
        log_(spec.run_dir / "logs" / fmt::format("rank-{}.out", world.rank), spec.max_output_bytes),
        tagger_(world.rank,
                world.rank == 0 ? std::numeric_limits<std::size_t>::max() : kShownLines) {
    ::signal(SIGPIPE, SIG_IGN);  // mpirun may go before us
    parent_ = ::getppid();
    die_with_parent(SIGTERM, parent_);
    std::error_code ignored;
    // An earlier attempt may have left it.
    std::filesystem::remove(error_file(spec.run_dir, world.rank), ignored);
    std::filesystem::create_directories(spec.run_dir / "black_box", ignored);
    describe();
    if (spec.local_box) open_local_box();
    beats_.emplace(spec.beat_token, world.rank, box_file());
  }

  int run() {
    start_rank();
    beats_->tell(status_);  // from now on a checkpoint request is safe to send
    save_status();
    while (!ended_) wait_for_something();
    remove_segment();
    pump(out_, false);
    pump(err_, true);
    show(tagger_.finish());
    describe_end();
    beats_->tell(status_);
    save_status();
    hand_over_box();
    return status_.exit_code;
  }

 private:
  void describe() {
    status_.rank = world_.rank;
    status_.world_size = world_.world_size;
    status_.host = own_host();
    status_.mpi_job = mpi_job();
    status_.attempt = spec_.attempt;
    status_.start_unix = unix_now();
  }

  // A disk that has no room for it is no reason not to train.
  void open_local_box() {
    try {
      local_.emplace(spec_.run_dir, world_.rank);
    } catch (const IoError& error) {
      complain(error);
    }
  }

  void hand_over_box() const {
    if (!local_) return;
    try {
      local_->hand_over();
    } catch (const IoError& error) {
      complain(error);
    }
  }

  void complain(const IoError& error) const {
    fmt::print(stderr, "[rank {}] muster-rank-wrap: {}\n", world_.rank, error.what());
  }

  std::filesystem::path box_folder() const {
    return local_ ? local_->folder() : spec_.run_dir / "black_box";
  }
  std::filesystem::path box_file() const {
    return box_folder() / flight_file(spec_.run_dir, world_.rank).filename();
  }

  // A group of its own: mpirun's KILL to the wrapper's group must not outrun the wrapper's report.
  void start_rank() {
    Pipe out = make_pipe();
    Pipe err = make_pipe();
    Spawn what;
    what.argv = spec_.program;
    if (spec_.one_gpu)
      what.environment["CUDA_VISIBLE_DEVICES"] =
          one_visible_gpu(std::getenv("CUDA_VISIBLE_DEVICES"), world_.local_rank);
    if (local_) what.environment["MUSTER_BLACK_BOX"] = local_->folder().string();
    what.output = out.write_end.get();
    what.error = err.write_end.get();
    what.group = Spawn::Group::kItsOwn;
    what.signal_when_parent_goes = SIGKILL;
    what.ignored_signal = SIGUSR2;  // until the rank has its handler, a request must not kill it
    what.complaint = "muster-rank-wrap: cannot run " + spec_.program.front();
    child_ = spawn(what).pid;
    status_.pid = child_;
    out_ = std::move(out.read_end);
    err_ = std::move(err.read_end);
    ::fcntl(out_.get(), F_SETFL, O_NONBLOCK);
    ::fcntl(err_.get(), F_SETFL, O_NONBLOCK);
  }

  void wait_for_something() {
    std::array<pollfd, 3> fds{
        {{signals_.fd(), POLLIN, 0}, {out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}}};
    if (out_closed_) fds[1].fd = -1;  // poll() ignores it
    if (err_closed_) fds[2].fd = -1;
    if (::poll(fds.data(), fds.size(), beats_->wait_ms()) < 0) return;
    beats_->beat();
    if (fds[1].revents != 0) out_closed_ = pump(out_, false);
    if (fds[2].revents != 0) err_closed_ = pump(err_, true);
    while (const auto signal = signals_.next()) handle(*signal);
  }

  void handle(const signalfd_siginfo& signal) {
    reap();
    const auto number = static_cast<int>(signal.ssi_signo);
    if (ended_ || number == SIGCHLD) return;
    const bool from_parent =
        static_cast<pid_t>(signal.ssi_pid) == parent_ || ::getppid() != parent_;
    const bool world_ends =
        number == SIGTERM && from_parent && (world_.by == "mpirun" || ::getppid() != parent_);
    if (!world_ends) {
      ::kill(child_, SIGUSR2);
      return;
    }
    status_.torn_down = true;
    ::kill(child_, SIGKILL);  // its peers are gone; KILL also ends a stopped process
  }

  void reap() {
    int how = 0;
    if (ended_ || ::waitpid(child_, &how, WNOHANG) != child_) return;
    ended_ = true;
    status_.end_unix = unix_now();
    status_.signal = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    status_.exit_code = WIFSIGNALED(how) ? 128 + status_.signal : WEXITSTATUS(how);
  }

  // Copies what is there and returns true at the end of the stream.
  bool pump(const Fd& stream, bool is_stderr) {
    std::array<char, 16384> buffer{};
    for (;;) {
      const ssize_t n = ::read(stream.get(), buffer.data(), buffer.size());
      if (n == 0) return true;
      if (n < 0) return errno != EAGAIN && errno != EINTR;
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(n));
      log_.write(bytes);
      if (is_stderr) show(tagger_.feed(bytes));
    }
  }

  // The launcher sweeps its own host alone. While mpirun lives, it removes the file itself, once no
  // peer looks for it any more.
  void remove_segment() const {
    if (::getppid() == parent_) return;
    remove_segments(
        kSegmentFolder,
        {.host = status_.host, .job = status_.mpi_job, .local_rank = world_.local_rank});
  }

  // mpirun may be gone: then nobody looks, and the file has it all.
  static void show(std::string_view lines) { write_until_done(STDERR_FILENO, lines); }

  void describe_end() {
    merge_rank_error(box_folder(), status_);
    const auto box = read_flight_log(box_file(), 1);
    if (box && box->pid == child_ && !box->events.empty())
      status_.last_step = box->events.back().step;
  }

  // A full disk must not turn a rank's failure into the wrapper's.
  void save_status() const {
    try {
      write_rank_status(spec_.run_dir, status_);
    } catch (const IoError& error) {
      complain(error);
    }
  }

  const WrapSpec& spec_;
  const WorldEnvironment world_;
  SignalHub signals_;
  BoundedFile log_;
  RankTagger tagger_;
  std::optional<LocalBox> local_;
  std::optional<BeatSender> beats_;
  Fd out_;
  Fd err_;
  pid_t parent_ = 0;
  pid_t child_ = -1;
  bool ended_ = false;
  bool out_closed_ = false;
  bool err_closed_ = false;
  RankStatus status_;
};

}  // namespace

std::string one_visible_gpu(const char* visible, int local_rank) {
  if (visible == nullptr || *visible == '\0') return std::to_string(local_rank);
  const std::vector<std::string> gpus = split(visible, ',');
  if (gpus.size() == 1) return gpus.front();
  if (static_cast<std::size_t>(local_rank) < gpus.size())
    return gpus[static_cast<std::size_t>(local_rank)];
  throw PreflightError(fmt::format(
      "local rank {} has no GPU of its own: CUDA_VISIBLE_DEVICES={} names {} (R-012). Start "
      "fewer ranks per node",
      local_rank, visible, gpus.size()));
}

int run_wrapped(const WrapSpec& spec) { return Wrapper(spec, world_from_environment()).run(); }

}  // namespace muster::launcher
