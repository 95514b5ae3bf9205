// From which checkpoint a run continues, whatever lies in the folder.
#include "trainer/checkpoint/resume.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/rng.h"
#include "support/test_paths.h"
#include "trainer/checkpoint/saved.h"

using namespace muster;
using namespace muster::trainer;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

// The step that a run continues from, agreed by all ranks; -1: from the beginning.
std::int64_t resumed_step(const fs::path& run, int ranks = 2) {
  const std::vector<std::string> sets{"run.dir=" + run.string()};
  const configs::Config config =
      configs::load(source_dir() / "tests/support/plain_demo.yaml", sets);
  std::vector<std::int64_t> steps(static_cast<std::size_t>(ranks), -1);
  as_ranks(ranks, [&](sharding::Collective& collective) {
    configs::Config mine = config;
    Resume resume(mine, collective, EpochChange::kRefuse);
    while (resume.found() && !resume.confirm("")) {
    }
    if (resume.found())
      steps[static_cast<std::size_t>(collective.rank())] = resume.manifest().state.step;
  });
  for (const std::int64_t step : steps) CHECK(step == steps[0]);
  return steps[0];
}

std::string aside(const fs::path& run, std::int64_t step) {
  return step_dir(run, step).string() + ".damaged";
}

}  // namespace

TEST_CASE("the newest checkpoint is taken, by number", "[unit]") {
  const TempDir run;
  CHECK(resumed_step(run.path()) == -1);
  for (const std::int64_t step : {999999, 1000000}) save(run.path(), step);
  CHECK(resumed_step(run.path()) == 1000000);
}

TEST_CASE("an unfinished checkpoint does not exist for a restart", "[unit][fault]") {
  const TempDir run;
  save(run.path(), 100);
  const std::string unfinished = step_dir(run.path(), 200).string() + ".1a-2b.tmp";
  fs::copy(step_dir(run.path(), 100), unfinished);  // as SIGKILL leaves it
  CHECK(resumed_step(run.path()) == 100);
  CHECK_FALSE(fs::exists(unfinished));
}

TEST_CASE("a damaged checkpoint is set aside and the previous one is used", "[unit][fault]") {
  const TempDir run;
  save(run.path(), 100);
  save(run.path(), 200);
  const fs::path newest = step_dir(run.path(), 200);
  SECTION("one bit flipped") {
    change(newest / "part-0", [](std::string& bytes) { bytes[500] ^= 1; });
  }
  SECTION("truncated") { fs::resize_file(newest / "part-1", 999); }
  SECTION("a file missing") { fs::remove(newest / "part-1"); }
  SECTION("the manifest is not json") { write_text(newest / "manifest.json", "{"); }
  SECTION("the manifest is of another step") {
    fs::copy(step_dir(run.path(), 100) / "manifest.json", newest / "manifest.json",
             fs::copy_options::overwrite_existing);
  }
  SECTION("no manifest") { fs::remove(newest / "manifest.json"); }
  CHECK(resumed_step(run.path()) == 100);
  CHECK(fs::exists(aside(run.path(), 200)));
  CHECK_FALSE(read_text(fs::path(aside(run.path(), 200)) / "damage.txt").empty());
  CHECK(resumed_step(run.path(), 3) == 100);
}

TEST_CASE("cut at every 4 KiB or flipped anywhere, a checkpoint gives way to the one before",
          "[fault]") {
  const TempDir run;
  const auto save_large = [&](std::int64_t step) {
    as_ranks(2, [&](sharding::Collective& collective) {
      CheckpointStore store(run.path(), collective, {.keep = 10});
      const std::string name = "part-" + std::to_string(collective.rank());
      store.begin(manifest_at(step), {.copy = [] {},
                                      .write =
                                          [&](const fs::path& folder) {
                                            write_text(folder / name, std::string(40000, 'x'));
                                            return std::vector<std::string>{name};
                                          }});
      store.wait_written();
      store.commit();
      store.wait_committed();
    });
  };
  save_large(100);
  save_large(200);
  const fs::path newest = step_dir(run.path(), 200);
  const auto damaged_gives_way = [&](const std::string& file,
                                     const std::function<void(std::string&)>& edit) {
    const std::string whole = read_text(newest / file);
    change(newest / file, edit);
    CHECK(resumed_step(run.path()) == 100);
    fs::rename(aside(run.path(), 200), newest);  // whole again for the next
    fs::remove(newest / "damage.txt");
    write_text(newest / file, whole);
  };
  Rng random(7);
  for (const char* file : {"part-0", "part-1", "manifest.json"}) {
    const std::size_t size = fs::file_size(newest / file);
    for (std::size_t at = 0; at < size; at += 4096) {
      CAPTURE(file, at);
      damaged_gives_way(file, [&](std::string& bytes) { bytes.resize(at); });
      damaged_gives_way(file, [&](std::string& bytes) {
        bytes[random.next() % size] ^= static_cast<char>(1 << (random.next() % 8));
      });
    }
  }
  CHECK(resumed_step(run.path()) == 200);
}

TEST_CASE("when every checkpoint is damaged the run stops and lists them", "[fault]") {
  const TempDir run;
  for (const std::int64_t step : {100, 200}) save(run.path(), step);
  change(step_dir(run.path(), 100) / "part-0", [](std::string& bytes) { bytes[5] ^= 4; });
  fs::remove(step_dir(run.path(), 200) / "part-1");
  for (int again = 0; again < 2; ++again) {  // a second start does not begin from nothing either
    CHECK_THROWS_MATCHES(
        resumed_step(run.path()), CheckpointError,
        MessageMatches(
            ContainsSubstring("(R-028)") && ContainsSubstring("--fresh") &&
            ContainsSubstring("step-000100.damaged: part-0 does not match its checksum") &&
            ContainsSubstring("step-000200.damaged: part-1 is missing")));
  }
  CHECK(fs::exists(fs::path(aside(run.path(), 100)) / "part-1"));  // nothing is deleted
}

TEST_CASE("what loading finds wrong in whole bytes is the config's fault, not the checkpoint's",
          "[fault]") {
  const TempDir run;
  save(run.path(), 100);
  const std::vector<std::string> sets{"run.dir=" + run.path().string()};
  const configs::Config config =
      configs::load(source_dir() / "tests/support/plain_demo.yaml", sets);
  const auto resume_with = [&](const std::string& problem_of_rank_1) {
    as_ranks(2, [&](sharding::Collective& collective) {
      configs::Config mine = config;
      Resume resume(mine, collective, EpochChange::kRefuse);
      resume.confirm(collective.rank() == 1 ? problem_of_rank_1 : "");
    });
  };
  CHECK_THROWS_MATCHES(resume_with("it does not fit"), ConfigError,
                       MessageMatches(ContainsSubstring("(R-027) it does not fit")));
  CHECK_THROWS_AS(resume_with("cannot read x: Stale file handle"), IoError);
  CHECK(fs::exists(step_dir(run.path(), 100)));
}
