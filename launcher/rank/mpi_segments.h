// Open MPI's shared memory on this machine: each rank has a file in /dev/shm that is named after
// host, user, job and its number there, vader_segment.HOST.UID.JOB.RANK, from version 5 on
// sm_segment.HOST.UID.JOB.RANK. mpirun removes what its ranks leave; when mpirun itself was killed
// nobody does.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "launcher/rank/world.h"

namespace muster::launcher {

inline constexpr const char* kSegmentFolder = "/dev/shm";

// The job that mpirun started this process in, as the files' names have it; "" without an mpirun.
std::string mpi_job(const GetEnv& env);
std::string mpi_job();  // of this process

struct SegmentOwner {
  std::string host;                    // as it calls itself
  std::string job;                     // "": none, whose files are none
  std::optional<int> local_rank = {};  // none: all ranks on that host
};

// Removes the files of these ranks from `folder` and returns how many there were. Files of any
// other host, user or job are left alone, as is what is no file. REQUIRES that the ranks have
// ended.
int remove_segments(const std::filesystem::path& folder, const SegmentOwner& owner);

}  // namespace muster::launcher
