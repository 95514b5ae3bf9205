// Fetches a library that a machine lacks, once, into the cache: announced, with progress and a
// known checksum. The active Python's pip does the fetching, so mirrors, proxies and certificates
// are those that the user has set up.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace muster::launcher {

// Wheels of the package index, of which the files are used and nothing is installed.
struct Wheels {
  struct Requirement {
    std::string package;  // for pip: "torch==2.11.0"
    std::string sha256;   // of the one wheel that pip is asked for
  };
  std::string name;  // for people: "LibTorch 2.11.0"
  std::vector<Requirement> requirements;
  std::int64_t bytes = 0;
  std::int64_t unpacked_bytes = 0;
};

extern const Wheels kLibTorchWheels;
extern const Wheels
    kCudaWheels;  // the two libraries that LibTorch's wheel loads without a GPU, too
extern const Wheels kOpenMpiWheels;

// Unpacks the wheels into `target`, whole or not at all; another process that fetches the same is
// waited for. Throws PreflightError with pip's own words when it cannot be had, and with `advice`,
// which says what to do instead.
void fetch(const Wheels& wheels, const std::filesystem::path& target, const std::string& advice);

}  // namespace muster::launcher
