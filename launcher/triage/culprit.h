// The rank that failed first, which is rarely the one that complained, and what is known about it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/rank/first_failure.h"
#include "launcher/triage/evidence.h"
#include "launcher/triage/row_match.h"

namespace muster::launcher {

// What is not known is absent. The keys of `triage --json` have these names.
struct Culprit {
  std::optional<std::int64_t> rank;
  std::optional<std::string> host;
  std::optional<std::string> phase;
  std::optional<std::int64_t> step;
  std::optional<std::int64_t> micro_step;
  std::optional<std::int64_t> collective;
  std::optional<std::int64_t> bucket;
  std::vector<std::int64_t> samples;  // the first sample ids of its micro-batch
  std::optional<std::int64_t> signal;
  std::optional<std::int64_t> exit_code;
  std::optional<std::string> error;  // what it said, or what was said about it
  std::optional<double> time_unix;   // when it failed
};

// Returns the ranks that left a status, each with the newest event of its own black box.
std::vector<RankEvidence> ranks_of(const Evidence& evidence);

// Returns the earliest line of a log that looks like an error, nullptr when there is none.
const Record* earliest_error(const Evidence& evidence);

// `ranks`: of ranks_of(). Who failed first is first_failure()'s decision, to which `matches` say
// which ranks the diary takes for cascades; but a hang's culprit is the rank whose black box lags.
// Without statuses the best match and the earliest error name the rank.
Culprit find_culprit(const Evidence& evidence, std::span<const RankEvidence> ranks,
                     std::span<const RowMatch> matches);

}  // namespace muster::launcher
