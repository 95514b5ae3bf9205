#include "launcher/rank/beat.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "launcher/rank/side_file.h"

namespace muster::launcher {
namespace {

constexpr std::string_view kBeatOpens = "muster-beat ";
constexpr std::string_view kIsBeat = " b ";
constexpr std::string_view kIsStatus = " s ";
constexpr std::int64_t kAnyNumber = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kAnyInt = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMostEvents = std::int64_t{1} << 60;
constexpr std::int64_t kLongestSilence_ms = std::int64_t{1} << 40;

// One number of a beat, and what it may be.
struct Number {
  std::int64_t value = 0;
  std::int64_t least = -1;
  std::int64_t most = kAnyNumber;
};

// In this order on the line.
enum Part : std::uint8_t {
  kNrRank,
  kNrPresent,
  kNrWritten,
  kNrSilent_ms,
  kNrPid,
  kNrFirstStep,
  kNrStep,
  kNrCollective,
  kNrMicroStep,
  kNrBucket,
  kNrPhase,
  kNrState,
  kNrBytes,
  kNrTime,
  kNrSamples,
  kNumParts = kNrSamples + 4
};
using Numbers = std::array<Number, kNumParts>;

Numbers numbers_of(const RankBeat& beat) {
  Numbers all{};
  const FlightEvent& last = beat.last;
  all[kNrRank] = {beat.rank, 0, kAnyInt};
  all[kNrPresent] = {beat.present ? 1 : 0, 0, 1};
  all[kNrWritten] = {static_cast<std::int64_t>(beat.written), 0, kMostEvents};
  all[kNrSilent_ms] = {std::llround(1e3 * beat.silent_s), 0, kLongestSilence_ms};
  all[kNrPid] = {beat.pid, 0, kAnyInt};
  all[kNrFirstStep].value = beat.first_step;
  all[kNrStep].value = last.step;
  all[kNrCollective].value = last.collective;
  all[kNrMicroStep] = {last.micro_step, -1, kAnyInt};
  all[kNrBucket] = {last.bucket, -1, kAnyInt};
  all[kNrPhase] = {static_cast<std::int64_t>(last.phase), 0,
                   static_cast<std::int64_t>(Phase::kDone)};
  all[kNrState] = {beat.state, 0, 'z'};
  all[kNrBytes].value = last.bytes_in_use;
  all[kNrTime] = {last.time_ns, 0, kAnyNumber};
  for (std::size_t i = 0; i < last.samples.size(); ++i) all[kNrSamples + i].value = last.samples[i];
  return all;
}

RankBeat beat_of(const Numbers& all) {
  RankBeat beat;
  FlightEvent& last = beat.last;
  beat.rank = static_cast<int>(all[kNrRank].value);
  beat.present = all[kNrPresent].value == 1;
  beat.written = static_cast<std::uint64_t>(all[kNrWritten].value);
  beat.silent_s = 1e-3 * static_cast<double>(all[kNrSilent_ms].value);
  beat.pid = all[kNrPid].value;
  beat.first_step = all[kNrFirstStep].value;
  last.step = all[kNrStep].value;
  last.collective = all[kNrCollective].value;
  last.micro_step = static_cast<std::int32_t>(all[kNrMicroStep].value);
  last.bucket = static_cast<std::int32_t>(all[kNrBucket].value);
  last.phase = static_cast<Phase>(all[kNrPhase].value);
  beat.state = static_cast<char>(all[kNrState].value);
  last.bytes_in_use = all[kNrBytes].value;
  last.time_ns = all[kNrTime].value;
  for (std::size_t i = 0; i < last.samples.size(); ++i) last.samples[i] = all[kNrSamples + i].value;
  return beat;
}

// Exactly so many numbers with one space between two, each within its range.
std::optional<RankBeat> parse_numbers(std::string_view text) {
  Numbers all = numbers_of({});
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i > 0) {
      if (at == end || *at != ' ') return std::nullopt;
      ++at;
    }
    const auto [next, error] = std::from_chars(at, end, all[i].value);
    if (error != std::errc() || all[i].value < all[i].least || all[i].value > all[i].most)
      return std::nullopt;
    at = next;
  }
  return at == end ? std::optional(beat_of(all)) : std::nullopt;
}

}  // namespace

std::string beat_line(std::string_view token, const RankBeat& beat) {
  std::string line = fmt::format("{}{}{}", kBeatOpens, token, kIsBeat);
  const Numbers all = numbers_of(beat);
  for (std::size_t i = 0; i < all.size(); ++i)
    line += fmt::format("{}{}", i == 0 ? "" : " ", all[i].value);
  return line + "\n";
}

std::string status_line(std::string_view token, const RankStatus& status) {
  RankStatus shown = status;
  for (;;) {
    const std::string text =
        rank_status_as_json(shown).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    std::string line = fmt::format("{}{}{}{}\n", kBeatOpens, token, kIsStatus, text);
    if (line.size() <= kLongestBeat || shown.error.empty()) return line;
    const std::size_t over = line.size() - kLongestBeat;
    shown.error.erase(shown.error.size() - std::min(shown.error.size(), over / 6 + 1));
  }
}

bool is_beat(std::string_view line, std::string_view token) {
  return !token.empty() && line.find(token) != std::string_view::npos;
}

std::optional<Told> parse_beat(std::string_view line, std::string_view token, int world_size) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.size() > kLongestBeat || !line.starts_with(kBeatOpens)) return std::nullopt;
  line.remove_prefix(kBeatOpens.size());
  if (token.empty() || !line.starts_with(token)) return std::nullopt;
  line.remove_prefix(token.size());
  Told told;
  if (line.starts_with(kIsBeat))
    told.beat = parse_numbers(line.substr(kIsBeat.size()));
  else if (line.starts_with(kIsStatus))
    told.status = parse_rank_status(parse_side_file(line.substr(kIsStatus.size())));
  const bool ours = (told.beat && told.beat->rank < world_size) ||
                    (told.status && told.status->world_size == world_size);
  return ours ? std::optional(std::move(told)) : std::nullopt;
}

std::string make_beat_token() {
  std::random_device random;
  const auto high = static_cast<std::uint64_t>(random());
  return fmt::format("{:016x}", high << 32U | random());
}

}  // namespace muster::launcher
