// Start the world again, or stop? A pure function of what happened so far.
#pragma once

#include <cstdint>
#include <string>

namespace muster::launcher {

struct AttemptOutcome {
  int exit_code = 0;            // what launch would return if it ended now
  bool progressed = false;      // a newer checkpoint exists than when the attempt began
  bool stop_requested = false;  // by a person or the scheduler
  // The next attempt would be another one: with less memory per rank, or without a lost host.
  bool remedy = false;
  bool hopeless = false;  // every attempt would find the same: no checkpoint is whole
};

struct Decision {
  bool restart = false;
  int exit_code = 0;  // when not
  std::string why;
};

class RestartPolicy {
 public:
  static constexpr int kAttemptsWithoutProgress = 3;  // then 93: the same failure would come again

  explicit RestartPolicy(std::int64_t max_restarts)
      : max_restarts_(max_restarts), left_(max_restarts) {}
  // Out of memory (78) comes again unless something changes: it restarts with a remedy only. There
  // are few remedies, so they cost no budget and their attempts do not count as the same one again.
  Decision decide(const AttemptOutcome& outcome);

 private:
  Decision try_the_same_again(const AttemptOutcome& outcome);

  std::int64_t max_restarts_;
  std::int64_t left_;
  int without_progress_ = 0;
};

}  // namespace muster::launcher
