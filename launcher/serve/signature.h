// When an answer about a run folder has to be made anew.
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace muster::launcher {

// Sizes and times of what an answer is made from; absent parts count as such.
std::string signature_of(const std::filesystem::path& run, std::span<const char* const> parts);

}  // namespace muster::launcher
