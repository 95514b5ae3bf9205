// Finds the rows of the diary that hold for a run.
#pragma once

#include <cstddef>
#include <vector>

#include "launcher/triage/diary.h"
#include "launcher/triage/evidence.h"

namespace muster::launcher {

struct RowMatch {
  const DiaryRow* row = nullptr;        // of the diary passed in
  int rank = -1;                        // the first rank the row holds for; -1: not of one rank
  std::vector<const Record*> evidence;  // one per clause that holds, of the evidence passed in
  double order = 0;                     // earlier is smaller
  std::size_t specific = 0;             // characters of the clauses that hold
};

// Returns at most one match per row. Roots come first, then cascades, confirmations and advice;
// within a role the earliest, then the most specific.
std::vector<RowMatch> match_rows(const Evidence& evidence, const Diary& diary);

}  // namespace muster::launcher
