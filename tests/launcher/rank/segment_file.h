// A file like those of Open MPI's shared memory, for as long as a test runs.
#pragma once

#include <string>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "launcher/rank/mpi_segments.h"

namespace muster::test {

struct SegmentFile {
  fs::path path;

  explicit SegmentFile(const std::string& name) : path(fs::path(launcher::kSegmentFolder) / name) {
    write_text(path, "shared memory");
  }
  ~SegmentFile() {
    std::error_code gone;
    fs::remove(path, gone);
  }
  SegmentFile(const SegmentFile&) = delete;
  SegmentFile& operator=(const SegmentFile&) = delete;
};

}  // namespace muster::test
