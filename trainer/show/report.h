// report.html: one file that shows a run to a person, offline: curves, the run's table, pictures
// with drawn boxes.
#pragma once

#include <filesystem>
#include <string>

namespace muster::trainer {

// From what lies in the run folder: metrics.jsonl (needed), config.yaml, black_box/rank-0.status,
// and predictions/*.{png,jpg,jpeg} with an optional caption in <stem>.txt. Throws IoError or
// DataError.
std::string render_report(const std::filesystem::path& run_dir);

// Writes run_dir/report.html and returns its path.
std::filesystem::path write_report(const std::filesystem::path& run_dir);

}  // namespace muster::trainer
