#include "launcher/rank/beat_board.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "launcher/rank/beat.h"
#include "launcher/rank/lines.h"

namespace muster::launcher {
namespace {

constexpr int kMostBeatRanks = 1 << 16;
constexpr std::uintmax_t kLargestBeatsFile = std::uintmax_t{2 * kLongestBeat} * kMostBeatRanks;
constexpr const char* kKeptToken = "kept";  // of the lines in the file

fs::path beats_file(const fs::path& run_dir) { return run_dir / "black_box" / "beats"; }

struct Head {
  int attempt = 0;
  int world_size = 0;
  double written_unix = 0;
};

std::optional<Head> parse_head(const std::string& line) {
  Head head;
  const int found = std::sscanf(line.c_str(), "muster-beats %d %d %lf", &head.attempt,
                                &head.world_size, &head.written_unix);
  const bool whole = found == 3 && head.attempt >= 0 && head.world_size > 0 &&
                     head.world_size <= kMostBeatRanks && head.written_unix >= 0;
  return whole ? std::optional(head) : std::nullopt;
}

}  // namespace

BeatBoard::BeatBoard(std::string token, int world_size)
    : token_(std::move(token)),
      beats_(static_cast<std::size_t>(world_size)),
      statuses_(static_cast<std::size_t>(world_size)) {
  for (int rank = 0; rank < world_size; ++rank) beats_[static_cast<std::size_t>(rank)].rank = rank;
}

std::string BeatBoard::feed(std::string_view bytes, double now_s) {
  std::string rest;
  for_lines(partial_, bytes, [&](std::string_view line) { take(line, now_s, rest); });
  return rest;
}

std::string BeatBoard::finish() {
  std::string rest;
  last_line(partial_, [&](std::string_view line) { take(line, 0, rest); });
  return rest;
}

void BeatBoard::take(std::string_view line, double now_s, std::string& rest) {
  auto told = parse_beat(line, token_, static_cast<int>(beats_.size()));
  if (!told) {
    if (!is_beat(line, token_)) rest += fmt::format("{}\n", line);
    return;
  }
  if (told->status) {
    auto& known = statuses_[static_cast<std::size_t>(told->status->rank)];
    if (!known) ++reported_;
    known = std::move(told->status);
    RankBeat& beat = beats_[static_cast<std::size_t>(known->rank)];
    beat.host = known->host;
    beat.ended = known->ended();
    return;
  }
  RankBeat& beat = beats_[static_cast<std::size_t>(told->beat->rank)];
  told->beat->host = std::move(beat.host);
  told->beat->ended = beat.ended;
  told->beat->told_s = now_s;
  beat = std::move(*told->beat);
}

std::vector<RankEvidence> BeatBoard::evidence() const {
  std::vector<RankEvidence> all;
  for (std::size_t rank = 0; rank < beats_.size(); ++rank) {
    if (!statuses_[rank]) continue;
    RankEvidence& one = all.emplace_back(RankEvidence{*statuses_[rank], std::nullopt});
    if (beats_[rank].present) one.last = beats_[rank].last;
  }
  return all;
}

// Not forced to the disk: it is of the moment, and the next one follows.
void BeatBoard::save(const fs::path& run_dir, int attempt) const {
  const fs::path file = beats_file(run_dir);
  const fs::path part = part_of(file);
  {
    std::ofstream out(part, std::ios::trunc);
    out << fmt::format("muster-beats {} {} {:.3f}\n", attempt, beats_.size(), unix_now());
    const double now_s = seconds_now();
    for (std::size_t rank = 0; rank < beats_.size(); ++rank) {
      RankBeat beat = beats_[rank];
      if (beat.silent_s >= 0) beat.silent_s += std::max(0.0, now_s - beat.told_s);
      if (statuses_[rank]) out << status_line(kKeptToken, *statuses_[rank]);
      if (beat.present) out << beat_line(kKeptToken, beat);
    }
    if (!out.flush()) return;
  }
  std::error_code refused;
  fs::rename(part, file, refused);
}

std::optional<KnownBeats> read_known_beats(const fs::path& run_dir) {
  const fs::path file = beats_file(run_dir);
  std::error_code absent;
  if (!fs::is_regular_file(file, absent) || fs::file_size(file, absent) > kLargestBeatsFile)
    return std::nullopt;
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  const auto head = parse_head(line);
  if (!head) return std::nullopt;
  BeatBoard board(kKeptToken, head->world_size);
  while (std::getline(in, line)) board.feed(line + "\n", 0);
  KnownBeats known{head->attempt, {}, board.evidence()};
  const double age = std::max(0.0, unix_now() - head->written_unix);
  for (const RankBeat& beat : board.beats()) {
    if (!beat.present) continue;
    known.beats.push_back(beat);
    known.beats.back().silent_s += age;
  }
  return known;
}

std::vector<RankBeat> read_beats(const std::filesystem::path& run_dir, int world_size) {
  static const std::string host = own_host();
  std::vector<RankBeat> beats;
  for (int rank = 0; rank < world_size; ++rank)
    beats.push_back(read_beat(flight_file(run_dir, rank), rank, host));
  const auto known = read_known_beats(run_dir);
  if (!known) return beats;
  for (const RankBeat& told : known->beats) {
    const auto rank = static_cast<std::size_t>(told.rank);
    if (rank < beats.size() && !beats[rank].present) beats[rank] = told;
  }
  return beats;
}

}  // namespace muster::launcher
