// The diary, executed: which rank failed first, where, and which rows explain it. Pure but for
// reading config.yaml.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/triage/diary.h"
#include "launcher/triage/evidence.h"

namespace muster::launcher {

struct RowMatch {
  const DiaryRow* row = nullptr;  // of the diary passed in
  int rank = -1;                  // the first rank the row holds for; -1: not of one rank
  std::vector<const Record*>
      evidence;              // one record per clause that holds, of the evidence passed in
  double order = 0;          // earlier is smaller
  std::size_t specific = 0;  // characters of the clauses that hold
};

// The rank that failed first, which is rarely the one that complained. Keys as in `triage --json`:
// rank, host, phase, step, micro_step, collective, bucket, samples, signal, exit_code, error,
// time_unix; absent when not known.
using FirstFailed = std::map<std::string, std::string>;

struct Verdict {
  FirstFailed first;
  std::vector<RowMatch> matches;  // best explanation first; empty when no root or cascade row holds
  std::vector<RowMatch> notes;    // confirm and advice rows of a failure that stays unexplained
  bool nothing_failed = false;
};

Verdict triage(const Evidence& evidence, const Diary& diary);

// A row for a failure no row explains: one line of Markdown, ready for append_row().
std::string draft_row(const Evidence& evidence, const Verdict& verdict, const Diary& diary);

// `run_dir`: of the run, for the lines of its config that a fix is about; a path that is no folder
// shows none.
std::string verdict_as_json(const Verdict& verdict, const std::filesystem::path& run_dir);
std::string verdict_as_text(const Verdict& verdict, const std::filesystem::path& run_dir);

}  // namespace muster::launcher
