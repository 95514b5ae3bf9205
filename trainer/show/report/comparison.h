// Several runs on one page: curves over each other, what differs in the configs, gains by class
// over the first run.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace muster::trainer {

// REQUIRES at least one run. Throws IoError or DataError.
std::string render_comparison(const std::vector<std::filesystem::path>& run_dirs);

}  // namespace muster::trainer
