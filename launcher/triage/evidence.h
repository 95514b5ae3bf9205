// What a run left behind, as records that the diary's clauses are matched against one by one.
// Nothing is interpreted here.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/triage/record.h"

namespace muster::launcher {

struct Evidence {
  bool whole_run = false;  // of a run folder, not of one log
  std::vector<Record> records;
};

// Reads a run folder, or one log file. Of each log it keeps the last 2000 lines, and of those
// before all that look like errors. Lines of earlier attempts are left out. Throws UsageError when
// there is nothing to read.
Evidence gather(const std::filesystem::path& run_dir_or_log);

// Building blocks, also used by tests.
std::vector<Record> read_lines(Source source, int rank, const std::string& name,
                               std::string_view text);
Record status_record(const std::string& name, std::string_view json);  // throws DataError
bool looks_like_error(std::string_view line);

}  // namespace muster::launcher
