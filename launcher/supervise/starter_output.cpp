#include "launcher/supervise/starter_output.h"

#include <unistd.h>

#include <cerrno>

#include "base/clock.h"
#include "base/process/fd.h"

namespace muster::launcher {
namespace {

ConsoleView view_of(const LaunchSpec& spec) {
  return {spec.starter.kind == StarterKind::kSrun ? "srun" : "mpirun", spec.watch.colour};
}

}  // namespace

StarterOutput::StarterOutput(const LaunchSpec& spec)
    : board_(spec.watch.beat_token, spec.ranks),
      file_(spec.run_dir / "logs" / "mpirun.out", spec.watch.max_output_bytes),
      console_{view_of(spec), view_of(spec)} {}

std::array<int, 2> StarterOutput::open_fds(const ProcessTree& starter) const {
  return {closed_[kOut] ? -1 : starter.output_fd(), closed_[kErr] ? -1 : starter.error_fd()};
}

void StarterOutput::pump(const ProcessTree& starter) {
  while (!closed_[kOut] && read(starter.output_fd(), kOut)) continue;
  while (!closed_[kErr] && read(starter.error_fd(), kErr)) continue;
}

// Returns whether there may be more at once.
bool StarterOutput::read(int fd, Stream stream) {
  std::array<char, 16384> buffer{};
  const ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n < 0) return errno == EINTR;
  if (n == 0) closed_[stream] = true;
  const std::string_view bytes(buffer.data(), static_cast<std::size_t>(n));
  if (stream == kOut)
    show(kOut, board_.feed(bytes, seconds_now()));
  else
    show(kErr, bytes);
  return n > 0;
}

// Nobody may watch (the terminal is closed): the file has it.
void StarterOutput::show(Stream stream, std::string_view words) {
  constexpr std::size_t kKept = 8192;
  if (words.empty()) return;
  file_.write(words);
  last_words_.append(words);
  if (last_words_.size() > 2 * kKept) last_words_.erase(0, last_words_.size() - kKept);
  write_until_done(STDERR_FILENO, console_[stream].feed(words));
}

void StarterOutput::finish() {
  show(kOut, board_.finish());
  for (ConsoleView& view : console_) write_until_done(STDERR_FILENO, view.finish());
}

void StarterOutput::mute_starter() {
  for (ConsoleView& view : console_) view.mute_starter();
}

}  // namespace muster::launcher
