#include "launcher/rank/rank_status.h"

#include <fmt/core.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/files.h"
#include "base/flight_recorder.h"
#include "base/process/atomic_file.h"
#include "launcher/rank/side_file.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

std::string file_name(int rank, const char* suffix) {
  return fmt::format("rank-{}.{}", rank, suffix);
}

fs::path rank_file(const fs::path& run_dir, int rank, const char* suffix) {
  return run_dir / "black_box" / file_name(rank, suffix);
}

// Bytes that are not UTF-8 (a file name, say) are replaced, not a reason to lose the report.
std::string dump(const json& value) {
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

fs::path flight_file(const fs::path& run_dir, int rank) { return rank_file(run_dir, rank, "bin"); }
fs::path status_file(const fs::path& run_dir, int rank) {
  return rank_file(run_dir, rank, "status");
}
fs::path error_file(const fs::path& run_dir, int rank) { return rank_file(run_dir, rank, "error"); }
fs::path own_flight_file(const fs::path& run_dir, int rank) {
  return black_box_folder(run_dir) / file_name(rank, "bin");
}

json rank_status_as_json(const RankStatus& s) {
  return json{{"rank", s.rank},
              {"world_size", s.world_size},
              {"host", s.host},
              {"mpi_job", s.mpi_job},
              {"pid", s.pid},
              {"attempt", s.attempt},
              {"start_unix", s.start_unix},
              {"end_unix", s.end_unix},
              {"exit_code", s.exit_code},
              {"signal", s.signal},
              {"last_step", s.last_step},
              {"error", s.error},
              {"error_unix", s.error_unix},
              {"consequence", s.consequence},
              {"torn_down", s.torn_down}};
}

void write_rank_status(const fs::path& run_dir, const RankStatus& status) {
  write_text(status_file(run_dir, status.rank), dump(rank_status_as_json(status)));
}

std::optional<RankStatus> read_rank_status(const fs::path& run_dir, int rank) {
  const auto status = parse_rank_status(read_side_file(status_file(run_dir, rank)));
  return status && status->rank == rank ? status : std::nullopt;
}

std::optional<RankStatus> parse_rank_status(const json& value) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kInt = std::numeric_limits<int>::max();
  RankStatus s;
  s.rank = static_cast<int>(whole_number(value, "rank", -1, 0, kInt));
  s.world_size = static_cast<int>(whole_number(value, "world_size", 0, 1, kInt));
  s.start_unix = finite_number(value, "start_unix", -1);
  if (s.rank < 0 || s.world_size <= s.rank || s.start_unix < 0) return std::nullopt;
  s.host = short_text(value, "host");
  s.mpi_job = short_text(value, "mpi_job");
  s.pid = whole_number(value, "pid", 0, 0, kMost);
  s.attempt = static_cast<int>(whole_number(value, "attempt", -1, 0, kInt));
  s.end_unix = finite_number(value, "end_unix", 0);
  s.exit_code = static_cast<int>(whole_number(value, "exit_code", -1, 0, 255));
  s.signal = static_cast<int>(whole_number(value, "signal", 0, 0, 64));
  s.last_step = whole_number(value, "last_step", -1, -1, kMost);
  s.error = short_text(value, "error");
  s.error_unix = finite_number(value, "error_unix", 0);
  s.consequence = flag(value, "consequence");
  s.torn_down = flag(value, "torn_down");
  return s;
}

void report_rank_error(const fs::path& run_dir, int rank, const std::string& what,
                       bool consequence) noexcept {
  try {
    const fs::path folder = black_box_folder(run_dir);
    fs::create_directories(folder);
    const json value{
        {"rank", rank}, {"time_unix", unix_now()}, {"what", what}, {"consequence", consequence}};
    write_text(folder / file_name(rank, "error"), dump(value));
  } catch (...) {
    return;  // the rank is leaving with a better reason than this one
  }
}

void merge_rank_error(const fs::path& black_box, RankStatus& status) {
  const json value = read_side_file(black_box / file_name(status.rank, "error"));
  if (value.is_null()) return;
  status.error = short_text(value, "what");
  status.error_unix = finite_number(value, "time_unix", 0);
  status.consequence = flag(value, "consequence");
}

}  // namespace muster::launcher
