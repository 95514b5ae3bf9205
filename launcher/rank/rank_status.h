// What is known about each rank process from outside: run_dir/black_box/rank-<r>.status, written
// whole by the wrapper, and rank-<r>.error, written by the rank itself beside its black box.
// docs/black_box.md has the formats.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace muster::launcher {

struct RankStatus {
  int rank = -1;
  int world_size = 0;
  std::string host;
  std::string mpi_job;  // as Open MPI's shared memory is named (mpi_segments.h); "": no mpirun's
  std::int64_t pid = 0;
  int attempt = 0;
  double start_unix = 0;
  double end_unix = 0;  // 0: still running
  int exit_code = -1;   // -1 while running, 128 + signal after a signal
  int signal = 0;
  std::int64_t last_step = -1;
  std::string error;         // what the rank said
  double error_unix = 0;     // and when; 0: nothing said
  bool consequence = false;  // the rank says that a peer failed first
  bool torn_down = false;    // killed by its wrapper because the world was ending
  bool ended() const { return end_unix > 0; }
};

std::filesystem::path flight_file(const std::filesystem::path& run_dir, int rank);
std::filesystem::path status_file(const std::filesystem::path& run_dir, int rank);
std::filesystem::path error_file(const std::filesystem::path& run_dir, int rank);
// Where the rank itself keeps its black box, which may be a disk of its own (black_box_folder()).
std::filesystem::path own_flight_file(const std::filesystem::path& run_dir, int rank);

nlohmann::json rank_status_as_json(const RankStatus& status);
// Nothing when it is damaged: without a rank or a start, or with numbers that no rank has.
std::optional<RankStatus> parse_rank_status(const nlohmann::json& value);

// Throws IoError.
void write_rank_status(const std::filesystem::path& run_dir, const RankStatus& status);
// Nothing when there is none, or when it is damaged.
std::optional<RankStatus> read_rank_status(const std::filesystem::path& run_dir, int rank);

// Called by a rank that leaves because of an exception, before it aborts the world. `consequence`:
// the exception only says that a peer is gone (CollectiveError). Never throws: the disk may be what
// failed.
void report_rank_error(const std::filesystem::path& run_dir, int rank, const std::string& what,
                       bool consequence = false) noexcept;
// Fills error, error_unix and consequence from the rank's error file in that folder, when there is
// one.
void merge_rank_error(const std::filesystem::path& black_box, RankStatus& status);

}  // namespace muster::launcher
