// What a run left behind, as records that the diary's clauses are matched against one by one.
// Nothing is interpreted here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace muster::launcher {

// kText is a single log file of unknown origin: it serves every clause about text.
enum class Source { kRank, kLauncher, kStatus, kSlurm, kKernel, kBox, kText };
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
};

struct Evidence {
  bool whole_run = false;  // of a run folder, not of one log
  std::vector<Record> records;
};

// A run folder, or one log file. Of each log: the last 2000 lines, and of those before all that
// look like errors. Lines of earlier attempts are left out. Throws UsageError when there is nothing
// to read.
Evidence gather(const std::filesystem::path& run_dir_or_log);

// Building blocks, also used by tests.
std::vector<Record> read_lines(Source source, int rank, const std::string& name,
                               std::string_view text);
Record status_record(const std::string& name, std::string_view json);  // throws DataError
bool looks_like_error(std::string_view line);

}  // namespace muster::launcher
