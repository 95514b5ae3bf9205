// TensorBoard event files, written by hand so that nothing of TensorFlow is needed: TFRecords of
// Event messages. Layout in docs/metrics.md. Each process start opens a new file; the reader joins
// them and drops what a resume overwrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::trainer {

std::uint32_t crc32c(std::string_view bytes);  // Castagnoli; "123456789" gives 0xe3069283

class EventWriter {
 public:
  // `first_step` is the first step this process will write: points of earlier processes from there
  // on are purged by the reader. Throws IoError.
  EventWriter(const std::filesystem::path& folder, std::int64_t first_step);

  // One Event with all scalars of a step; flushed.
  void write(std::int64_t step, std::span<const std::pair<std::string, double>> scalars);

  const std::filesystem::path& file() const { return file_; }

 private:
  void record(const std::string& event);

  std::filesystem::path file_;
  std::ofstream out_;
};

}  // namespace muster::trainer
