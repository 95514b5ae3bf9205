// report.html: one file that shows a run to a person, offline: how good it is, curves, classes,
// pictures with the truth beside the predictions, what happened.
#pragma once

#include <filesystem>
#include <string>

namespace muster::trainer {

// From what lies in the run folder: metrics.jsonl (needed), evaluation.json, config.yaml,
// launch.json, resumes.jsonl, black_box/rank-0.status and predictions/. Throws IoError or
// DataError.
std::string render_report(const std::filesystem::path& run_dir);

// Writes run_dir/report.html and returns its path.
std::filesystem::path write_report(const std::filesystem::path& run_dir);

}  // namespace muster::trainer
