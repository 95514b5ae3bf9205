// What comes out of mpirun or srun: beats on its stdout, the ranks' words and its own on both.
// Beats go to the board, words to the terminal and into logs/mpirun.out, which is bounded.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/process/bounded_file.h"
#include "base/process/process_tree.h"
#include "launcher/rank/beat_board.h"
#include "launcher/rank/console.h"
#include "launcher/supervise/launch_spec.h"

namespace muster::launcher {

class StarterOutput {
 public:
  explicit StarterOutput(const LaunchSpec& spec);

  // Takes what is there, without waiting.
  void pump(const ProcessTree& starter);
  void finish();  // shows last lines that have no end
  // For poll(): -1 for a stream that has ended.
  std::array<int, 2> open_fds(const ProcessTree& starter) const;

  // From now on the starter's own words are in the file alone.
  void mute_starter();
  const BeatBoard& board() const { return board_; }
  // The end of what was said, for judging the starter's own end: its file may be on a full disk.
  const std::string& last_words() const { return last_words_; }

 private:
  enum Stream : std::size_t { kOut, kErr };

  bool read(int fd, Stream stream);
  void show(Stream stream, std::string_view words);

  BeatBoard board_;
  BoundedFile file_;
  std::array<ConsoleView, 2> console_;
  std::array<bool, 2> closed_{};
  std::string last_words_;
};

}  // namespace muster::launcher
