#include "launcher/rank/beat.h"

#include <fmt/format.h>

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

constexpr std::string_view kOpen = "muster-beat ";
constexpr std::string_view kBeat = " b ";
constexpr std::string_view kStatus = " s ";
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kInt = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMostEvents = std::int64_t{1} << 60;
constexpr std::int64_t kLongestSilence_ms = std::int64_t{1} << 40;

// One number of a beat, and what it may be.
struct Number {
  std::int64_t value = 0;
  std::int64_t least = -1;
  std::int64_t most = kMost;
};

// In this order on the line.
enum Part : std::uint8_t {
  kRank,
  kPresent,
  kWritten,
  kSilent_ms,
  kPid,
  kFirstStep,
  kStep,
  kCollective,
  kMicroStep,
  kBucket,
  kPhase,
  kState,
  kBytes,
  kTime,
  kSamples,
  kParts = kSamples + 4
};
using Numbers = std::array<Number, kParts>;

Numbers numbers_of(const RankBeat& beat) {
  Numbers all{};
  const FlightEvent& last = beat.last;
  all[kRank] = {beat.rank, 0, kInt};
  all[kPresent] = {beat.present ? 1 : 0, 0, 1};
  all[kWritten] = {static_cast<std::int64_t>(beat.written), 0, kMostEvents};
  all[kSilent_ms] = {std::llround(1e3 * beat.silent_s), 0, kLongestSilence_ms};
  all[kPid] = {beat.pid, 0, kInt};
  all[kFirstStep].value = beat.first_step;
  all[kStep].value = last.step;
  all[kCollective].value = last.collective;
  all[kMicroStep] = {last.micro_step, -1, kInt};
  all[kBucket] = {last.bucket, -1, kInt};
  all[kPhase] = {static_cast<std::int64_t>(last.phase), 0, static_cast<std::int64_t>(Phase::kDone)};
  all[kState] = {beat.state, 0, 'z'};
  all[kBytes].value = last.bytes_in_use;
  all[kTime] = {last.time_ns, 0, kMost};
  for (std::size_t i = 0; i < last.samples.size(); ++i) all[kSamples + i].value = last.samples[i];
  return all;
}

RankBeat beat_of(const Numbers& all) {
  RankBeat beat;
  FlightEvent& last = beat.last;
  beat.rank = static_cast<int>(all[kRank].value);
  beat.present = all[kPresent].value == 1;
  beat.written = static_cast<std::uint64_t>(all[kWritten].value);
  beat.silent_s = 1e-3 * static_cast<double>(all[kSilent_ms].value);
  beat.pid = all[kPid].value;
  beat.first_step = all[kFirstStep].value;
  last.step = all[kStep].value;
  last.collective = all[kCollective].value;
  last.micro_step = static_cast<std::int32_t>(all[kMicroStep].value);
  last.bucket = static_cast<std::int32_t>(all[kBucket].value);
  last.phase = static_cast<Phase>(all[kPhase].value);
  beat.state = static_cast<char>(all[kState].value);
  last.bytes_in_use = all[kBytes].value;
  last.time_ns = all[kTime].value;
  for (std::size_t i = 0; i < last.samples.size(); ++i) last.samples[i] = all[kSamples + i].value;
  return beat;
}

// Exactly so many numbers with one space between two, each within its range.
std::optional<RankBeat> parse_numbers(std::string_view text) {
  Numbers all = numbers_of({});
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i > 0 && (at == end || *at++ != ' ')) return std::nullopt;
    const auto [next, error] = std::from_chars(at, end, all[i].value);
    if (error != std::errc() || all[i].value < all[i].least || all[i].value > all[i].most)
      return std::nullopt;
    at = next;
  }
  return at == end ? std::optional(beat_of(all)) : std::nullopt;
}

}  // namespace

std::string beat_line(std::string_view token, const RankBeat& beat) {
  std::string line = fmt::format("{}{}{}", kOpen, token, kBeat);
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
    std::string line = fmt::format("{}{}{}{}\n", kOpen, token, kStatus, text);
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
  if (line.size() > kLongestBeat || !line.starts_with(kOpen)) return std::nullopt;
  line.remove_prefix(kOpen.size());
  if (token.empty() || !line.starts_with(token)) return std::nullopt;
  line.remove_prefix(token.size());
  Told told;
  if (line.starts_with(kBeat))
    told.beat = parse_numbers(line.substr(kBeat.size()));
  else if (line.starts_with(kStatus))
    told.status = parse_rank_status(parse_side_file(line.substr(kStatus.size())));
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
