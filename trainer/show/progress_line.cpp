#include "trainer/show/progress_line.h"

#include <fmt/core.h>

#include "base/text.h"

namespace muster::trainer {
namespace {

std::string mebibytes(std::int64_t bytes) {
  constexpr double kMiB = 1024.0 * 1024.0, kTenGiB = 10240.0;
  const double mib = static_cast<double>(bytes) / kMiB;
  return mib < kTenGiB ? fmt::format("{:.0f} MiB", mib) : fmt::format("{:.1f} GiB", mib / 1024);
}

}  // namespace

std::string progress_line(const StepLine& line) {
  std::string text = fmt::format("step {}/{} loss {:.4g} lr {:.1e} grad {:.3g} {:.0f} tok/s {}",
                                 line.step, line.max_steps, line.loss, line.lr, line.grad_norm,
                                 line.tokens_per_s, mebibytes(line.memory_bytes));
  if (line.mfu > 0) text += fmt::format(" MFU {:.3g} %", 100 * line.mfu);
  const auto left = static_cast<double>(line.max_steps - line.step);
  if (left > 0 && line.seconds_per_step > 0)
    text += " ETA " + human_seconds(left * line.seconds_per_step);
  return text;
}

}  // namespace muster::trainer
