#include "launcher/supervise/status_view.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "base/utf8.h"

namespace muster::launcher {

bool is_over(const RunStatus& status) {
  // A plain mpirun leaves nobody who would write down how it ended: its ranks tell.
  const bool all_ended =
      !status.ranks_now.empty() &&
      std::ranges::none_of(status.ranks_now, [](const RankNow& rank) { return rank.end.empty(); });
  const bool unwatched = status.state != "running" && !status.exit_code;
  return status.exit_code.has_value() || status.state == "lost" || (unwatched && all_ended);
}

std::string status_line(const RunStatus& status) {
  std::string line = status.state;
  if (status.exit_code) line += fmt::format(" (code {})", *status.exit_code);
  line += fmt::format(", step {}", status.step);
  if (status.max_steps > 0) line += fmt::format(" of {}", status.max_steps);
  if (status.loss) line += fmt::format(", loss {:.4g}", *status.loss);
  if (status.eta_s && !status.exit_code)
    line += fmt::format(", {} to go", human_seconds(*status.eta_s));
  if (status.restarts > 0) line += fmt::format(", {} restarts", status.restarts);
  return printable(line);
}

std::string rub_out(std::string_view text, int columns) {
  if (text.empty()) return "";
  const auto width = static_cast<std::size_t>(std::max(columns, 1));
  std::size_t rows = 0;
  for (const std::string& line : split(text, '\n'))
    rows += std::max<std::size_t>(1, (line.size() + width - 1) / width);
  if (text.ends_with('\n')) --rows;  // what follows the last line's end is no line
  return rows == 0 ? "" : fmt::format("\x1b[{}A\r\x1b[J", rows);
}

}  // namespace muster::launcher
