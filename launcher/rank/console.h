// The ranks' words on one terminal: every line carries its rank, and a colour where somebody looks.
// Pure: bytes in, bytes out.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace muster::launcher {

// The wrapper's part. It returns whole lines of the rank's stderr, each with "[rank N] " in front
// unless the rank's own log tag says it already. After `max_lines` one line says where the rest is.
// An endless line is cut at 8 KiB.
class RankTagger {
 public:
  RankTagger(int rank, std::size_t max_lines);
  std::string feed(std::string_view bytes);
  std::string finish();  // returns the last line, when it has no end

 private:
  void take(std::string_view line, std::string& out);

  int rank_;
  std::size_t max_lines_;
  std::size_t lines_ = 0;
  std::string partial_;
};

// The launcher's part: it shows what comes out of mpirun. Lines of a rank are coloured by rank at
// the tag, warnings and errors whole. Lines of nobody are mpirun's and get "[mpirun] ".
class ConsoleView {
 public:
  ConsoleView(std::string starter, bool colour) : starter_(std::move(starter)), colour_(colour) {}
  std::string feed(std::string_view bytes);
  std::string finish();
  // From now on the starter's own lines are left out; lines of ranks are shown as before.
  void mute_starter() { starter_muted_ = true; }

 private:
  std::string show(std::string_view line) const;

  std::string starter_;
  bool colour_;
  bool starter_muted_ = false;
  std::string partial_;
};

// always, never, or auto: when stderr is a terminal and NO_COLOR is not set.
bool wants_colour(std::string_view choice, bool terminal, const char* no_color);

}  // namespace muster::launcher
