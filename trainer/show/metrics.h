// metrics.jsonl: one JSON object per optimizer step and one per evaluation, the truth from which
// TensorBoard files and the report are made. Numbers are plain and round-trip exactly; NaN and
// infinity, which JSON lacks, are null.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/process/fd.h"

namespace muster::trainer {

// In the order it is written. The first entry is "step".
using MetricsRow = std::vector<std::pair<std::string, double>>;

// Evaluations write -1 where there is nothing to measure, which is neither a point of a chart nor a
// number to read.
constexpr bool measured(double evaluation) { return evaluation >= 0; }
std::string measured_text(double evaluation);  // "0.1234", or "n/a"

std::string metrics_line(const MetricsRow& row);  // one JSON object, no newline

// Only rank 0 owns one. Each line reaches the kernel with one write, so a crash can tear at most
// the last line.
class MetricsLog {
 public:
  // Creates the file and its folder; a torn last line of an earlier process is removed. Throws
  // IoError.
  explicit MetricsLog(std::filesystem::path file);
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  void append(const MetricsRow& row);  // throws IoError

  // Call on resume with the restored step: later lines go, so that no step appears twice, and so do
  // lines that are damaged, each with a warning. Whole or not at all.
  void truncate_after(std::int64_t step);

 private:
  void open();

  std::filesystem::path file_;
  Fd descriptor_;
};

// null reads as NaN; a torn last line is left out, and so is any other line that is no row of
// numbers, with a warning that names file:line. Throws IoError.
std::vector<std::map<std::string, double>> read_metrics(const std::filesystem::path& file);

}  // namespace muster::trainer
