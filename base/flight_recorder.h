// A rank's last moments, kept through SIGKILL (law 12): a fixed-size memory-mapped ring of events
// in rank-<r>.bin. Written with plain stores, no locks, no system calls; read by the wrapper beside
// the rank while it lives (beats) and after it died (triage). The byte layout is
// specified in docs/black_box.md.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/phase.h"

namespace muster {

struct FlightEvent {
  std::int64_t time_ns = 0;  // CLOCK_REALTIME
  std::int64_t step = -1;
  std::int64_t collective = -1;   // sequence number of the newest collective issued
  std::int64_t bytes_in_use = 0;  // resident or device memory, as last sampled
  std::int32_t micro_step = -1;
  std::int32_t bucket = -1;
  Phase phase = Phase::kStart;
  std::array<std::int64_t, 4> samples{-1, -1, -1, -1};  // the first sample ids of the micro-batch
};

// The folder of a rank's own black box, for the rank: the one on its own disk that its wrapper
// names in MUSTER_BLACK_BOX, else run_dir/black_box.
std::filesystem::path black_box_folder(const std::filesystem::path& run_dir);

// One writer thread per recorder.
class FlightRecorder {
 public:
  static constexpr std::size_t kEvents = 4096;

  // Creates (or truncates) the file. Throws IoError.
  FlightRecorder(const std::filesystem::path& file, int rank, int world_size);
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  // Sets the context that following events carry.
  void set_step(std::int64_t step);
  void set_micro_batch(std::int32_t micro_step, std::span<const std::int64_t> sample_ids);
  void set_bytes_in_use(std::int64_t bytes);

  void record(Phase phase, std::int32_t bucket = -1, std::int64_t collective = -1);

 private:
  struct Page;
  Page* page_ = nullptr;
  std::uint64_t written_ = 0;
  FlightEvent context_;
};

// What a reader sees of one rank, also of a dead or still running one.
struct FlightLog {
  int rank = -1, world_size = 0;
  std::int64_t pid = 0;
  std::string host;
  std::int64_t start_ns = 0;        // when the recorder was made, CLOCK_REALTIME
  std::int64_t first_step = -1;     // of this process; -1 before its first step
  std::uint64_t written = 0;        // events ever recorded
  std::vector<FlightEvent> events;  // oldest first, the ring's content
};

// The newest `newest` events at most. Nothing when the file is absent, too short, or not a flight
// log of this version; an event being written at that moment (or when the rank was killed) is left
// out.
std::optional<FlightLog> read_flight_log(const std::filesystem::path& file,
                                         std::size_t newest = FlightRecorder::kEvents);

}  // namespace muster
