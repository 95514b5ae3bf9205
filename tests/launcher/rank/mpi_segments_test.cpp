// Which files of Open MPI's shared memory are a job's: never another's.
#include "launcher/rank/mpi_segments.h"

#include <fmt/core.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <csignal>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/rank/segment_file.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using muster::test::SegmentFile;

namespace {

std::string job_of(const std::map<std::string, std::string>& variables) {
  return mpi_job([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

}  // namespace

// Seen with Open MPI 4.1.4 and 5.0.11: these jobs had files called so.
TEST_CASE("segments: the job as mpirun 4 and 5 name it, nothing of srun or by hand", "[unit]") {
  const std::pair<std::string, std::string> by_mpirun{"OMPI_COMM_WORLD_SIZE", "2"};
  CHECK(job_of({by_mpirun, {"PMIX_NAMESPACE", "1975648257"}}) == "75c20001");
  CHECK(job_of({by_mpirun, {"PMIX_NAMESPACE", "prterun-vm-8630@1"}}) == "b44d0001");
  CHECK(job_of({{"PMIX_NAMESPACE", "1975648257"}}).empty());
  CHECK(job_of({by_mpirun}).empty());
  for (const std::string odd : {"", "slurm.pmix.12.0", "99999999999", "12x", "a@", "a@b"})
    CHECK(job_of({by_mpirun, {"PMIX_NAMESPACE", odd}}).empty());
}

TEST_CASE("segments: those of the job are removed, those of others stay", "[unit]") {
  const TempDir dir;
  const auto me = std::to_string(::geteuid()), somebody = std::to_string(::geteuid() + 1);
  const std::set<std::string> ours{"vader_segment.node7." + me + ".75c20001.0",
                                   "vader_segment.node7." + me + ".75c20001.11",
                                   "sm_segment.node7." + me + ".75c20001.0",
                                   "vader_segment.node7.site.org." + me + ".75c20001.1"};
  const std::set<std::string> others{
      "vader_segment.node7." + me + ".75c20002.0",        // another job
      "vader_segment.node7." + me + ".75c2000.0",         // whose name begins alike
      "vader_segment.node7." + me + ".175c20001.0",       // or ends so
      "vader_segment.node7." + somebody + ".75c20001.0",  // another user's
      "vader_segment.node70." + me + ".75c20001.0",       // another host's
      "vader_segment.node7.site.com." + me + ".75c20001.0",
      "vader_segment.node7." + me + ".75c20001.",
      "vader_segment.node7." + me + ".75c20001.0.bak",
      "vader_segment.node7." + me + ".75c20001.x",
      "my_vader_segment.node7." + me + ".75c20001.0",
      "nccl-75c20001",
      "psm2_shm.node7." + me + ".75c20001.0"};
  for (const auto& names : {ours, others})
    for (const std::string& name : names) write_text(dir.path() / name, "x");
  const std::string folder = "vader_segment.node7." + me + ".75c20001.5";
  const std::string link = "vader_segment.node7." + me + ".75c20001.6";
  fs::create_directory(dir.path() / folder);
  fs::create_symlink(dir.path() / *others.begin(), dir.path() / link);

  CHECK(remove_segments(dir.path(), {.host = "node7", .job = ""}) == 0);
  CHECK(remove_segments(dir.path() / "absent", {.host = "node7", .job = "75c20001"}) == 0);
  const SegmentOwner one{.host = "node7.site.org", .job = "75c20001", .local_rank = 11};
  CHECK(remove_segments(dir.path(), one) == 1);
  CHECK(names_in(dir.path()).size() == ours.size() - 1 + others.size() + 2);
  CHECK(remove_segments(dir.path(), {.host = "node7.site.org", .job = "75c20001"}) == 3);
  std::set<std::string> left = others;
  left.insert({folder, link});
  CHECK(names_in(dir.path()) == left);
}

TEST_CASE("segments: a wrapper whose mpirun was killed removes that of its own rank", "[fault]") {
  const TempDir dir;
  const auto name = [](int rank) {
    return fmt::format("vader_segment.{}.{}.f00e0001.{}", own_host(), ::geteuid(), rank);
  };
  const SegmentFile own(name(1)), peers(name(0));
  const Environment as_mpirun{{"OMPI_COMM_WORLD_SIZE", "2"},
                              {"OMPI_COMM_WORLD_RANK", "1"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                              {"PMIX_NAMESPACE", std::to_string(0xf00e0001u)}};
  const std::vector<std::string> wrapper{(test::build_dir() / "muster-rank-wrap").string(),
                                         "--run-dir",
                                         dir.path().string(),
                                         "--attempt",
                                         "0",
                                         "--"};
  const auto started_by = [&](const std::string& starter, const std::string& rank) {
    std::vector<std::string> argv{"sh", "-c", starter, "sh"};
    argv.insert(argv.end(), wrapper.begin(), wrapper.end());
    argv.insert(argv.end(), {"sh", "-c", rank});
    return run_captured(argv, std::chrono::seconds(20), as_mpirun).exit_code;
  };
  // While its mpirun lives it leaves the file to that, however the rank ends.
  CHECK(started_by("\"$@\"; exit 7", "kill -9 $$") == 7);
  CHECK(fs::exists(own.path));
  // The call returns when the wrapper, which holds the pipe, has ended.
  CHECK(started_by("\"$@\" & sleep 0.5; kill -9 $$", "exec sleep 100") == 128 + SIGKILL);
  CHECK_FALSE(fs::exists(own.path));
  CHECK(fs::exists(peers.path));
}
