// Where tests find oracles and their own cases.
#pragma once

#include <filesystem>

namespace muster::test {

// A file or folder under MUSTER_SHARED (default ../shared beside the source tree). SKIPs the
// running test, with the path, when it is not there.
std::filesystem::path shared(const std::filesystem::path& relative);

std::filesystem::path source_dir();  // the repository
std::filesystem::path build_dir();   // holds muster and golden_check

}  // namespace muster::test
