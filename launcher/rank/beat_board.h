// What the launcher knows of its ranks: the newest beat and status that each wrapper sent. It is
// also written into the run folder, for `muster status` and `muster triage`, which nobody tells.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/rank/first_failure.h"
#include "launcher/rank/heartbeat.h"
#include "launcher/rank/rank_status.h"

namespace muster::launcher {

class BeatBoard {
 public:
  BeatBoard(std::string token, int world_size);

  // Takes the starter's stdout as it comes and returns the lines in it that are no beats. `now_s`:
  // on the monitor's clock.
  std::string feed(std::string_view bytes, double now_s);
  std::string finish();  // the last line, when it has no end

  // One per rank, `present` false until its wrapper said otherwise.
  std::span<const RankBeat> beats() const { return beats_; }
  // Of the ranks whose wrapper has reported, by rank, each with its newest event.
  std::vector<RankEvidence> evidence() const;
  int reported() const { return reported_; }  // how many that are

  // Writes run_dir/black_box/beats, whole; a disk that refuses is not complained of.
  void save(const std::filesystem::path& run_dir, int attempt) const;

 private:
  void take(std::string_view line, double now_s, std::string& rest);

  std::string token_;
  std::vector<RankBeat> beats_;
  std::vector<std::optional<RankStatus>> statuses_;
  int reported_ = 0;
  std::string partial_;
};

struct KnownBeats {
  int attempt = 0;
  std::vector<RankBeat> beats;  // of the ranks that were heard of; silent_s is as of now
  std::vector<RankEvidence> evidence;
};
// Of the launcher's last word in the run folder. Nothing when there is none, or it is damaged.
std::optional<KnownBeats> read_known_beats(const std::filesystem::path& run_dir);

// What somebody who was not told can know: of the black boxes that lie in the run folder, and where
// there is none, of what the launcher wrote down of the beats.
std::vector<RankBeat> read_beats(const std::filesystem::path& run_dir, int world_size);

}  // namespace muster::launcher
