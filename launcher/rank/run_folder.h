// What launch does to a run folder around the ranks. Nothing is ever deleted but old black boxes
// beyond the newest few.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::launcher {

// Makes it with its logs/, black_box/ and checkpoints/. Throws PreflightError (D-006).
void make_run_folder(const std::filesystem::path& run_dir);

// Returns the newest step whose checkpoints/step-*/manifest.json exists, -1 when there is none.
std::int64_t newest_checkpoint(const std::filesystem::path& run_dir);

// Names of the checkpoints that ranks found damaged and set aside, sorted.
std::vector<std::string> damaged_checkpoints(const std::filesystem::path& run_dir);

// What --fresh does: it moves checkpoints, metrics, TensorBoard files and the report into
// run_dir/before-<n>/. Returns that folder, or "" when there was nothing.
std::filesystem::path set_aside(const std::filesystem::path& run_dir);

// Moves the ranks' files of the last attempt into black_box/older-<n>/, so that what lies in
// black_box/ is of one attempt.
void archive_black_boxes(const std::filesystem::path& run_dir);

}  // namespace muster::launcher
