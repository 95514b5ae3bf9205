// Files that another machine wrote. A shared file system may show them late: its clients remember
// for a while what they saw, and what they did not see (law 15).
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include "trainer/checkpoint/manifest/manifest.h"

namespace muster::trainer {

// Returns when this machine sees every file with its size, asking for each by name: no folder is
// listed. Says once, after a few seconds, what it waits for. Throws IoError naming what it still
// does not see when `patience` is over.
void wait_for_files(const std::filesystem::path& folder,
                    const std::map<std::string, Manifest::File>& files,
                    std::chrono::duration<double> patience);

}  // namespace muster::trainer
