// Beats: what a wrapper says of its rank, once a second and whenever the rank starts or ends, on
// its stdout, which mpirun or srun carry to the launcher. Nobody needs to see another host's files.
// docs/black_box.md has the format. Pure: values in, lines out, and back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/rank/heartbeat.h"
#include "launcher/rank/rank_status.h"

namespace muster::launcher {

// srun cuts lines at 1,024 bytes, and a pipe takes that much whole or not at all.
inline constexpr std::size_t kLongestBeat = 1000;

// With its end of line. `token`: of this attempt, which the ranks' own words do not have.
std::string beat_line(std::string_view token, const RankBeat& beat);
// The rank's own words are cut until the line fits.
std::string status_line(std::string_view token, const RankStatus& status);

// A line that has the token, whatever else was done to it on its way.
bool is_beat(std::string_view line, std::string_view token);

struct Told {
  std::optional<RankBeat> beat;  // one of the two
  std::optional<RankStatus> status;
};
// Nothing for what is torn, or holds numbers that no rank of that world has.
std::optional<Told> parse_beat(std::string_view line, std::string_view token, int world_size);

// 16 random hex digits.
std::string make_beat_token();

}  // namespace muster::launcher
