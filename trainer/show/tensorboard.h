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

#include "trainer/show/evaluation_record.h"

namespace muster::trainer {

std::uint32_t crc32c(std::string_view bytes);  // Castagnoli; "123456789" gives 0xe3069283

inline constexpr std::int64_t kPrThresholds = 101;

struct PngPicture {
  std::int64_t width = 0, height = 0;
  std::string png;  // the file's bytes
};

class EventWriter {
 public:
  // `first_step` is the first step this process will write: points of earlier processes from there
  // on are purged by the reader. Throws IoError.
  EventWriter(const std::filesystem::path& folder, std::int64_t first_step);

  // One Event with all scalars of a step; flushed.
  void write(std::int64_t step, std::span<const std::pair<std::string, double>> scalars);

  // A picture that the page shows under `tag`, step by step.
  void write_picture(std::int64_t step, std::string_view tag, const PngPicture& picture);
  // For the plugin of precision-recall curves: at kPrThresholds scores between 0 and 1.
  void write_pr_curve(std::int64_t step, std::string_view tag, const OperatingCurve& curve);

  const std::filesystem::path& file() const { return file_; }

 private:
  void record(const std::string& event);

  std::filesystem::path file_;
  std::ofstream out_;
};

}  // namespace muster::trainer
