// Who may read and write what a run leaves: as the umask says, and nothing of it in the open.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/flight_recorder.h"
#include "base/process/process_tree.h"
#include "launcher/rank/local_box.h"
#include "launcher/rank/rank_status.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;

namespace {

mode_t rights(const fs::path& path) {
  struct stat found {};
  REQUIRE(::lstat(path.c_str(), &found) == 0);
  return found.st_mode & 0777U;
}

// A wrapped rank that leaves a black box, logs and a status, under this umask.
void run_under(const std::string& mask, const fs::path& run_dir) {
  const fs::path build = test::build_dir();
  const auto run = run_captured(
      {"/bin/sh", "-c",
       "umask " + mask +
           " && mkdir \"$1\" && exec \"$0\" --run-dir \"$1\" "
           "--attempt 0 -- \"$2\" rank --run-dir \"$1\" --steps 1",
       (build / "muster-rank-wrap").string(), run_dir.string(), (build / "fake_rank").string()},
      20s);
  INFO(run.output);
  REQUIRE(run.exit_code == 0);
}

}  // namespace

TEST_CASE("rights: files of a run folder are as the umask says", "[unit]") {
  const TempDir dir;
  run_under("077", dir.path() / "mine");
  run_under("002", dir.path() / "ours");
  int files = 0;
  for (const char* run : {"mine", "ours"}) {
    const bool mine = run[0] == 'm';
    for (const auto& entry : fs::recursive_directory_iterator(dir.path() / run)) {
      INFO(entry.path());
      const bool folder = entry.is_directory();
      files += folder ? 0 : 1;
      const mode_t before_mask = folder ? 0777U : 0666U;
      const mode_t wanted = before_mask & ~(mine ? 077U : 002U);
      CHECK(rights(entry.path()) == wanted);
    }
  }
  CHECK(files >= 6);
}

TEST_CASE("rights: a black box on the machine's own disk is its user's alone", "[unit][fault]") {
  const TempDir dir;
  const fs::path user = dir.path() / ("muster-" + std::to_string(::geteuid()));
  const std::string before = std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "";
  ::setenv("TMPDIR", dir.path().c_str(), 1);
  fs::create_directories(dir.path() / "run" / "black_box");
  {
    const LocalBox box(dir.path() / "run", 3);
    CHECK(rights(user) == 0700);
    CHECK(rights(box.folder()) == 0700);
    { const FlightRecorder recorder(box.folder() / "rank-3.bin", 3, 4); }
    box.hand_over();
    CHECK(read_flight_log(flight_file(dir.path() / "run", 3)));
  }
  CHECK(!fs::exists(user));

  fs::create_directory(dir.path() / "elsewhere");
  fs::create_directory_symlink(dir.path() / "elsewhere", user);
  CHECK_THROWS_AS(LocalBox(dir.path() / "run", 3), IoError);
  fs::remove(user);
  fs::create_directory(user);
  fs::permissions(user, fs::perms::all);
  CHECK_THROWS_AS(LocalBox(dir.path() / "run", 3), IoError);
  if (before.empty())
    ::unsetenv("TMPDIR");
  else
    ::setenv("TMPDIR", before.c_str(), 1);
}
