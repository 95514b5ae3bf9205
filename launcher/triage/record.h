// One thing a run left behind: a line of a log, the status of a rank, the newest event of a black
// box, a line of the config. The diary's clauses are matched against records one by one.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace muster::launcher {

// kText is a single log file of unknown origin: it serves every clause about lines of a log.
enum class Source { kRank, kLauncher, kStatus, kSlurm, kKernel, kBox, kConfig, kText };
std::string_view source_name(Source source);

constexpr double kNoTime = std::numeric_limits<double>::infinity();

struct Record {
  Source source = Source::kText;
  int rank = -1;          // -1: not of one rank, or unknown
  std::string file;       // relative to the run folder
  std::int64_t line = 0;  // 1-based; 0 for records that are not lines of text
  double time = kNoTime;  // seconds since 1970; lines without a stamp take the one before
  std::string text;       // at most 4 KiB
  std::map<std::string, std::string> fields;  // kStatus and kBox: what key=value clauses compare

  std::string field(const std::string& key) const;  // "" when it has no such field
};

// Is it a record of one rank, about which other ranks cannot speak?
bool of_one_rank(Source source);

// An earlier record has a smaller number. Records without a time come after all others, in the
// order they were written.
double order_of(const Record& record);

// Returns when the first rank of the newest attempt started, as the statuses among `records` say;
// kNoTime when none does.
double newest_start(std::span<const Record> records);

}  // namespace muster::launcher
