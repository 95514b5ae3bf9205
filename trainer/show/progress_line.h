// The one log line that says everything about a step.
#pragma once

#include <cstdint>
#include <string>

namespace muster::trainer {

struct StepLine {
  std::int64_t step = 0, max_steps = 0;
  double loss = 0, lr = 0, grad_norm = 0, tokens_per_s = 0;
  std::int64_t memory_bytes = 0;
  double seconds_per_step = 0;  // for the ETA; 0 when not known yet
  double mfu = 0;               // 0: not known
};

// "step 120/600 loss 1.234 lr 1.0e-03 grad 0.52 1234 tok/s 812 MiB MFU 41 % ETA 3m 12s"
std::string progress_line(const StepLine& line);

}  // namespace muster::trainer
