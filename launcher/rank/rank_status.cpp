#include "launcher/rank/rank_status.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <system_error>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process/atomic_file.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

fs::path rank_file(const fs::path& run_dir, int rank, const char* suffix) {
  return run_dir / "black_box" / fmt::format("rank-{}.{}", rank, suffix);
}

// Nothing when the file is absent or is not JSON: a reader must not fail on what a dying machine
// left.
json read_json(const fs::path& file) {
  std::error_code absent;
  if (!fs::exists(file, absent)) return {};
  try {
    json value = parse_json(read_text(file));
    return value.is_object() ? value : json();
  } catch (const std::exception&) {
    return {};
  }
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

void write_rank_status(const fs::path& run_dir, const RankStatus& s) {
  const json value{{"rank", s.rank},
                   {"world_size", s.world_size},
                   {"host", s.host},
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
  write_text(status_file(run_dir, s.rank), dump(value));
}

std::optional<RankStatus> read_rank_status(const fs::path& run_dir, int rank) {
  const json value = read_json(status_file(run_dir, rank));
  if (value.is_null()) return std::nullopt;
  RankStatus s;
  try {
    s.rank = value.at("rank");
    s.world_size = value.at("world_size");
    s.host = value.at("host");
    s.pid = value.at("pid");
    s.attempt = value.at("attempt");
    s.start_unix = value.at("start_unix");
    s.end_unix = value.at("end_unix");
    s.exit_code = value.at("exit_code");
    s.signal = value.at("signal");
    s.last_step = value.at("last_step");
    s.error = value.at("error");
    s.error_unix = value.value("error_unix", 0.0);
    s.consequence = value.value("consequence", false);
    s.torn_down = value.value("torn_down", false);
  } catch (const json::exception&) {
    return std::nullopt;
  }
  return s;
}

void report_rank_error(const fs::path& run_dir, int rank, const std::string& what,
                       bool consequence) noexcept {
  try {
    fs::create_directories(run_dir / "black_box");
    const json value{
        {"rank", rank}, {"time_unix", unix_now()}, {"what", what}, {"consequence", consequence}};
    write_text(error_file(run_dir, rank), dump(value));
  } catch (...) {
    return;  // the rank is leaving with a better reason than this one
  }
}

void merge_rank_error(const fs::path& run_dir, RankStatus& status) {
  const json value = read_json(error_file(run_dir, status.rank));
  if (value.is_null()) return;
  try {
    status.error = value.value("what", "");
    status.error_unix = value.value("time_unix", 0.0);
    status.consequence = value.value("consequence", false);
  } catch (const json::exception&) {
    status.error = "(its error file is damaged)";
  }
}

}  // namespace muster::launcher
