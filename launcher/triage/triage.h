// The diary, executed: which rank failed first, where, and which rows explain it. Pure.
#pragma once

#include <vector>

#include "launcher/triage/culprit.h"
#include "launcher/triage/diary.h"
#include "launcher/triage/evidence.h"
#include "launcher/triage/row_match.h"

namespace muster::launcher {

struct Verdict {
  Culprit first;
  std::vector<RowMatch> matches;  // best explanation first; empty when no root or cascade row holds
  std::vector<RowMatch> notes;    // confirm and advice rows of a failure that stays unexplained
  bool nothing_failed = false;
};

// `evidence` and `diary` must outlive the verdict, which points into them.
Verdict triage(const Evidence& evidence, const Diary& diary);

}  // namespace muster::launcher
