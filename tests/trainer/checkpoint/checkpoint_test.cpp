#include "trainer/checkpoint/checkpoint.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "trainer/checkpoint/saved.h"
#include "trainer/checkpoint/visible_files.h"

using namespace muster;
using namespace muster::trainer;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE("a checkpoint is committed whole, with every rank's checksum in the manifest", "[unit]") {
  const TempDir run;
  save(run.path(), 100);
  const Manifest m = read_manifest(step_dir(run.path(), 100));
  CHECK(m.files.size() == 2);
  CHECK(m.files.at("part-1").bytes == 1000);
  CHECK(m.world_size == 2);
  CHECK(m.state.cursor == data::Cursor{1, 100});
  CHECK(m.state.health.recent_losses == std::deque<double>{0.1, 1.0 / 3});  // exact through JSON
}

TEST_CASE("old checkpoints go, the best one stays", "[unit]") {
  const TempDir run;
  save(run.path(), 100, 2, 2, 0.5);
  for (const std::int64_t step : {200, 300, 400}) save(run.path(), step, 2, 2);
  CHECK(fs::exists(step_dir(run.path(), 100)));
  CHECK_FALSE(fs::exists(step_dir(run.path(), 200)));
  CHECK(fs::exists(step_dir(run.path(), 300)));
  CHECK(fs::exists(step_dir(run.path(), 400)));
  CHECK(resolve_checkpoint(run.path()) == step_dir(run.path(), 100));
  CHECK(resolve_checkpoint(step_dir(run.path(), 300)) == step_dir(run.path(), 300));
  CHECK_THROWS_AS(resolve_checkpoint(run.path() / "nowhere"), CheckpointError);
}

TEST_CASE("steps are numbers: above 999,999 the newest is kept and found", "[unit]") {
  const TempDir run;
  for (const std::int64_t step : {999998, 999999, 1000000}) save(run.path(), step, 1, 2);
  CHECK(fs::exists(run.path() / "checkpoints" / "step-1000000"));
  CHECK_FALSE(fs::exists(step_dir(run.path(), 999998)));
  CHECK(step_folders(run.path() / "checkpoints").front().step == 1000000);
  CHECK(resolve_checkpoint(run.path()) == step_dir(run.path(), 1000000));
}

TEST_CASE("only names that this program writes are steps", "[unit]") {
  CHECK(step_of_name("step-000012") == 12);
  CHECK(step_of_name("step-1000000") == 1000000);
  for (const char* name : {"step-12", "step-0001000000", "step--00001", "step-000012.tmp", "step-",
                           "step-00001x", "step-99999999999999999999", "steps"})
    CHECK_FALSE(step_of_name(name));
}

TEST_CASE("a torn best.json, or one that points elsewhere, is left out", "[fault]") {
  for (const char* bytes :
       {"", "{\"checkpoint\": ", "[1]", "{\"checkpoint\": 7}",
        "{\"checkpoint\": \"step-/../../elsewhere\"}", "{\"checkpoint\": \"../../elsewhere\"}"}) {
    const TempDir run;
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
  const auto collective = sharding::make_self();
  CheckpointStore store(run.path(), *collective, {.keep = 2});
  SECTION("while it writes") {
    store.begin(manifest_at(5), {.copy = [] {},
                                 .write = [](const fs::path&) -> std::vector<std::string> {
                                   throw IoError("disk full");
                                 }});
    store.settle();
  }
  SECTION("while it copies") {
    store.begin(manifest_at(5),
                {.copy = [] { throw IoError("no memory"); },
                 .write = [](const fs::path&) -> std::vector<std::string> { return {}; }});
    CHECK_THROWS_AS(store.settle(), IoError);
  }
  CHECK_THROWS_AS(store.wait_written(), IoError);
  CHECK_FALSE(fs::exists(step_dir(run.path(), 5)));
}

TEST_CASE("settle returns when the copies are made, before anything is written", "[unit]") {
  const TempDir run;
  const auto collective = sharding::make_self();
  CheckpointStore store(run.path(), *collective, {.keep = 2});
  bool copied = false;
  std::promise<void> go_on;
  store.begin(manifest_at(5), {.copy = [&] { copied = true; },
                               .write =
                                   [&](const fs::path&) {
                                     go_on.get_future().wait();
                                     return std::vector<std::string>();
                                   }});
  store.settle();
  CHECK(copied);
  CHECK_FALSE(store.written());
  store.settle();  // nothing is being copied any more
  go_on.set_value();
  store.wait_written();
  store.commit();
  store.wait_committed();
  CHECK_FALSE(store.busy());
}

TEST_CASE("rank 0 waits for files that it does not see yet, and for no longer than it says",
          "[fault]") {
  const TempDir folder;
  const std::map<std::string, Manifest::File> files{{"late", {.bytes = 3, .xxh128 = ""}}};
  const auto wait = [&](double seconds) {
    wait_for_files(folder.path(), files, std::chrono::duration<double>(seconds));
  };
  SECTION("it comes") {
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      write_text(folder.path() / "late", "ab");  // an old size first
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      write_text(folder.path() / "late", "abc");
    });
    CHECK_NOTHROW(wait(10));
    other.join();
  }
  SECTION("it never comes") {
    CHECK_THROWS_MATCHES(wait(0.1), IoError, MessageMatches(ContainsSubstring("late (not there)")));
  }
  SECTION("its size never comes") {
    write_text(folder.path() / "late", "a");
    CHECK_THROWS_MATCHES(wait(0.1), IoError,
                         MessageMatches(ContainsSubstring("late (1 of 3 bytes)")));
  }
}

TEST_CASE("a rank whose files rank 0 cannot see ends the commit, and nothing is committed",
          "[fault]") {
  const TempDir run, elsewhere;
  CHECK_THROWS_AS(as_ranks(2,
                           [&](sharding::Collective& collective) {
                             const bool first = collective.rank() == 0;
                             fs::create_directories(elsewhere.path() / "checkpoints");
                             CheckpointStore store(
                                 first ? run.path() : elsewhere.path(), collective,
                                 {.keep = 1, .patience = std::chrono::milliseconds(200)});
                             auto job = small_job(collective.rank());
                             job.write = [write = job.write](const fs::path& folder) {
                               fs::create_directories(folder);
                               return write(folder);
                             };
                             store.begin(manifest_at(7), job);
                             store.wait_written();
                             store.commit();
                             store.wait_committed();
                           }),
                  IoError);
  CHECK(step_folders(run.path() / "checkpoints").empty());
}
