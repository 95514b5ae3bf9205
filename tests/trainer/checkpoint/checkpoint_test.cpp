#include "trainer/checkpoint/checkpoint.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"

using namespace muster;
using namespace muster::trainer;

namespace {

Manifest manifest_at(std::int64_t step) {
  Manifest m;
  m.state.step = step;
  m.state.cursor = {1, step};
  m.state.health.recent_losses = {0.1, 1.0 / 3};
  m.state.plateau.best = 0.25;
  m.data_fingerprint = "abc";
  return m;
}

// Writes a checkpoint of one file per rank, as `ranks` ranks would, and commits it.
void save(const fs::path& run, std::int64_t step, int ranks = 2, std::int64_t keep = 10) {
  for (int rank = ranks - 1; rank >= 0; --rank) {  // rank 0 last: it commits
    CheckpointStore store(run, rank, ranks, keep);
    store.begin(manifest_at(step), [rank](const fs::path& folder) {
      const std::string name = "part-" + std::to_string(rank);
      write_text(folder / name, std::string(1000, static_cast<char>('a' + rank)));
      return std::vector<std::string>{name};
    });
    store.wait();
    store.commit();
  }
}

fs::path step_dir(const fs::path& run, std::int64_t step) {
  return run / "checkpoints" / CheckpointStore::folder_name(step);
}

}  // namespace

TEST_CASE("a checkpoint is committed whole, with every rank's checksum in the manifest", "[unit]") {
  const TempDir run;
  fs::create_directories(run.path() / "checkpoints");
  save(run.path(), 100);
  const Manifest m = read_manifest(step_dir(run.path(), 100));
  CHECK(m.files.size() == 2);
  CHECK(m.files.at("part-1").bytes == 1000);
  CHECK(m.world_size == 2);
  CHECK(m.state.cursor == data::Cursor{1, 100});
  CHECK(m.state.health.recent_losses == std::deque<double>{0.1, 1.0 / 3});  // exact through JSON
  CHECK(CheckpointStore(run.path(), 0, 2, 10).find_newest_whole() == step_dir(run.path(), 100));
}

TEST_CASE("an unfinished checkpoint does not exist for a restart", "[unit][fault]") {
  const TempDir run;
  fs::create_directories(run.path() / "checkpoints");
  save(run.path(), 100);
  fs::copy(step_dir(run.path(), 100),
           step_dir(run.path(), 200).string() + ".tmp");  // as SIGKILL leaves it
  CheckpointStore store(run.path(), 0, 2, 10);
  CHECK(store.find_newest_whole() == step_dir(run.path(), 100));
  CHECK_FALSE(fs::exists(step_dir(run.path(), 200).string() + ".tmp"));
}

TEST_CASE("a damaged checkpoint is set aside and the previous one is used", "[unit][fault]") {
  const TempDir run;
  fs::create_directories(run.path() / "checkpoints");
  save(run.path(), 100);
  SECTION("one bit flipped") {
    save(run.path(), 200);
    std::string text = read_text(step_dir(run.path(), 200) / "part-0");
    text[500] ^= 1;
    write_text(step_dir(run.path(), 200) / "part-0", text);
  }
  SECTION("truncated") {
    save(run.path(), 200);
    fs::resize_file(step_dir(run.path(), 200) / "part-1", 999);
  }
  SECTION("a file missing") {
    save(run.path(), 200);
    fs::remove(step_dir(run.path(), 200) / "part-1");
  }
  SECTION("the manifest is not json") {
    save(run.path(), 200);
    write_text(step_dir(run.path(), 200) / "manifest.json", "{");
  }
  CheckpointStore store(run.path(), 0, 2, 10);
  CHECK(store.find_newest_whole() == step_dir(run.path(), 100));
  CHECK(fs::exists(step_dir(run.path(), 200).string() + ".damaged"));
}

TEST_CASE("old checkpoints go, the best one stays", "[unit]") {
  const TempDir run;
  fs::create_directories(run.path() / "checkpoints");
  save(run.path(), 100);
  CheckpointStore(run.path(), 0, 2, 2).mark_best(100, 0.5);
  for (const std::int64_t step : {200, 300, 400}) save(run.path(), step, 2, 2);
  CHECK(fs::exists(step_dir(run.path(), 100)));
  CHECK_FALSE(fs::exists(step_dir(run.path(), 200)));
  CHECK(fs::exists(step_dir(run.path(), 300)));
  CHECK(fs::exists(step_dir(run.path(), 400)));
  CHECK(resolve_checkpoint(run.path()) == step_dir(run.path(), 100));
  CHECK(resolve_checkpoint(step_dir(run.path(), 300)) == step_dir(run.path(), 300));
  CHECK_THROWS_AS(resolve_checkpoint(run.path() / "nowhere"), CheckpointError);
}

TEST_CASE("a torn best.json, or one that points elsewhere, is left out", "[fault]") {
  for (const char* bytes : {"", "{\"checkpoint\": ", "[1]", "{\"checkpoint\": 7}",
                            "{\"checkpoint\": \"step-/../../elsewhere\"}"}) {
    const TempDir run;
    fs::create_directories(run.path() / "checkpoints");
    save(run.path(), 100);
    write_text(run.path() / "checkpoints" / "best.json", bytes);
    CHECK(resolve_checkpoint(run.path()) == step_dir(run.path(), 100));
    save(run.path(), 200, 2, 1);  // deletes what is old, for which it asks which one is best
    CHECK(fs::exists(step_dir(run.path(), 200)));
    CHECK_FALSE(fs::exists(step_dir(run.path(), 100)));
  }
}

TEST_CASE("a writer's failure surfaces and commits nothing", "[unit][fault]") {
  const TempDir run;
  fs::create_directories(run.path() / "checkpoints");
  CheckpointStore store(run.path(), 0, 1, 2);
  store.begin(manifest_at(5),
              [](const fs::path&) -> std::vector<std::string> { throw IoError("disk full"); });
  CHECK_THROWS_AS(store.wait(), IoError);
  CHECK_FALSE(fs::exists(step_dir(run.path(), 5)));
}
