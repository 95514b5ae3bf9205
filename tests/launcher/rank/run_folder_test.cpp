#include "launcher/rank/run_folder.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/bounded_file.h"
#include "launcher/rank/rank_status.h"

using namespace muster;
using namespace muster::launcher;

namespace {

void add_checkpoint(const fs::path& run_dir, const std::string& name, bool whole) {
  fs::create_directories(run_dir / "checkpoints" / name);
  if (whole) write_text(run_dir / "checkpoints" / name / "manifest.json", "{}");
}

}  // namespace

TEST_CASE("run folder: only a checkpoint with its manifest counts", "[unit]") {
  const TempDir dir;
  CHECK(newest_checkpoint(dir.path()) == -1);
  add_checkpoint(dir.path(), "step-000009", true);
  add_checkpoint(dir.path(), "step-000010", true);
  add_checkpoint(dir.path(), "step-000011", false);
  add_checkpoint(dir.path(), "step-000012.tmp", true);
  CHECK(newest_checkpoint(dir.path()) == 10);
  CHECK(damaged_checkpoints(dir.path()).empty());
  add_checkpoint(dir.path(), "step-000014.damaged", true);
  CHECK(damaged_checkpoints(dir.path()) == std::vector<std::string>{"step-000014.damaged"});
  CHECK(newest_checkpoint(dir.path()) == 10);
}

TEST_CASE("run folder: --fresh moves, never deletes", "[unit]") {
  const TempDir dir;
  make_run_folder(dir.path());
  CHECK(set_aside(dir.path()).empty());
  for (int round = 0; round < 2; ++round) {
    add_checkpoint(dir.path(), "step-000001", true);
    write_text(dir.path() / "metrics.jsonl", std::to_string(round));
    const fs::path aside = set_aside(dir.path());
    CHECK(aside == dir.path() / ("before-" + std::to_string(round)));
    CHECK(read_text(aside / "metrics.jsonl") == std::to_string(round));
    CHECK(fs::exists(aside / "checkpoints" / "step-000001" / "manifest.json"));
    CHECK(newest_checkpoint(dir.path()) == -1);
  }
}

TEST_CASE("run folder: black boxes of earlier attempts are kept, the oldest go", "[unit]") {
  const TempDir dir;
  make_run_folder(dir.path());
  for (int i = 0; i < 12; ++i) {
    write_text(dir.path() / "black_box" / "rank-0.status", std::to_string(i));
    archive_black_boxes(dir.path());
  }
  archive_black_boxes(dir.path());  // nothing there: no new folder
  CHECK(read_text(dir.path() / "black_box" / "older-11" / "rank-0.status") == "11");
  CHECK(!fs::exists(dir.path() / "black_box" / "older-3"));
  CHECK(fs::exists(dir.path() / "black_box" / "older-4"));
  CHECK(!fs::exists(dir.path() / "black_box" / "older-12"));
}

TEST_CASE("rank status: what is written is read, damage is absence", "[unit]") {
  const TempDir dir;
  make_run_folder(dir.path());
  RankStatus s;
  s.rank = 3;
  s.world_size = 8;
  s.host = "node17";
  s.pid = 99;
  s.attempt = 2;
  s.start_unix = 1.5;
  s.end_unix = 2.25;
  s.exit_code = 137;
  s.signal = 9;
  s.last_step = 41;
  s.error = "bytes \xff here";
  s.torn_down = true;
  write_rank_status(dir.path(), s);
  const auto r = read_rank_status(dir.path(), 3);
  REQUIRE(r);
  CHECK(r->host == "node17");
  CHECK(r->end_unix == 2.25);
  CHECK(r->last_step == 41);
  CHECK(r->torn_down);
  CHECK(r->error.starts_with("bytes "));
  CHECK(!read_rank_status(dir.path(), 4));
  write_text(status_file(dir.path(), 3), "{\"rank\": 3");
  CHECK(!read_rank_status(dir.path(), 3));
  write_text(status_file(dir.path(), 3), "{\"rank\": \"three\"}");
  CHECK(!read_rank_status(dir.path(), 3));
  CHECK_NOTHROW(report_rank_error("/proc/no/such/folder", 0, "x"));
}

TEST_CASE("bounded file: it and its predecessor stay below the bound, the newest bytes are kept",
          "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "a.out";
  {
    BoundedFile out(file, 200);
    for (int i = 0; i < 100; ++i) out.write("0123456789");
  }
  CHECK(fs::file_size(file) + fs::file_size(file.string() + ".1") <= 200);
  BoundedFile again(file, 200);  // appends
  again.write("last");
  CHECK(read_text(file).ends_with("last"));
  CHECK_THROWS_AS(BoundedFile("/proc/no/such/a.out", 200), IoError);
}
