// Which LibTorch an installed muster runs with. Its C++ interface changes with every minor version:
// only the one that muster was built against is taken.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::launcher {

struct LibTorch {
  std::filesystem::path root;  // holds lib/libtorch_cpu.so
  std::string version;         // "2.11.0+cu130"
};

// Reads a LibTorch of any version: `folder` is its root, or holds it as `torch` or `libtorch`.
std::optional<LibTorch> libtorch_in(const std::filesystem::path& folder);

// Is it of the minor version that muster was built against?
bool fits(const LibTorch& libtorch);

struct LibTorchSearch {
  std::optional<LibTorch> found;
  std::vector<std::string> refused;  // "torch 2.9.1 in DIR", those of another version
};

// What a launcher found, for its ranks on other machines; passed over where it does not exist, as
// in a container.
inline constexpr const char* kFoundVariable = "MUSTER_LIBTORCH_FOUND";

// The first that fits: $MUSTER_LIBTORCH alone when it is set, $MUSTER_LIBTORCH_FOUND, beside the
// program, of the Python environments, in the cache, of `python3`. Throws PreflightError when
// $MUSTER_LIBTORCH names something else.
LibTorchSearch find_libtorch(const std::filesystem::path& prefix);

// Where a fetched one lies, whether it is there or not.
std::filesystem::path cached_libtorch();

// What to do when there is none, in one line.
std::string libtorch_advice(const LibTorchSearch& search);

// LibTorch's wheel is built for CUDA, and even its part for the CPU loads two of CUDA's libraries.
// True when they are neither beside it, where pip puts them, nor known to the loader.
bool lacks_cuda(const LibTorch& libtorch);

// Where the two lie once they are fetched, whether they are there or not.
std::filesystem::path cached_cuda();

// The folders whose libraries it needs: its own, and NVIDIA's packages beside it.
std::vector<std::filesystem::path> library_folders(const LibTorch& libtorch);

}  // namespace muster::launcher
