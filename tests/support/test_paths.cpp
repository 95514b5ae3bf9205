#include "support/test_paths.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

namespace muster::test {

std::filesystem::path source_dir() { return MUSTER_SOURCE_DIR; }
std::filesystem::path build_dir() { return MUSTER_BINARY_DIR; }

std::filesystem::path shared(const std::filesystem::path& relative) {
  const char* root = std::getenv("MUSTER_SHARED");
  const auto path =
      (root != nullptr ? std::filesystem::path(root) : source_dir() / ".." / "shared") / relative;
  if (!std::filesystem::exists(path))
    SKIP("not there: " << path.string() << " (set MUSTER_SHARED)");
  return path;
}

}  // namespace muster::test
