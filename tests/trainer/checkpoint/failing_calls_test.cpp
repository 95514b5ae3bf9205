// Every call of a checkpoint's writer and reader fails once: the error is the file system's (R-021,
// ), nothing is called damaged, and what was committed before is what a run continues
// from.
#include <dlfcn.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/process/process_tree.h"
#include "base/source_files.h"
#include "model/files/safetensors_writer.h"
#include "sharding/state/shard_store.h"
#include "support/test_paths.h"
#include "trainer/checkpoint/resume.h"
#include "trainer/checkpoint/saved.h"

using namespace muster;
using namespace muster::trainer;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;

namespace {

using Arm = void (*)(const char*, int, int, const char*);
using Left = int (*)();

// What a rank writes: weights, an optimizer shard and a text.
CheckpointStore::Job real_job() {
  return {
      .copy = [] {},
      .write =
          [](const fs::path& folder) {
            write_text(folder / "class_map.json", "{}");
            model::write_safetensors(folder / "model.safetensors",
                                     {{"a", at::ones({100})}, {"b", at::zeros({30, 2})}});
            std::vector<sharding::Slot> slots{{.name = "a", .shape = {128}, .numel = 128}};
            sharding::ShardFile header;
            header.space = sharding::FlatSpace(std::move(slots));
            header.layout = sharding::ShardLayout(header.space.elements(), 1, 128);
            header.param_steps = {1};
            const at::Tensor values = at::ones({128});
            sharding::write_shard(header, {values, values, values, {}}, folder / "optimizer-0.h5");
            return std::vector<std::string>{"class_map.json", "model.safetensors",
                                            "optimizer-0.h5"};
          }};
}

void save_as_one(const fs::path& run, std::int64_t step) {
  const auto collective = sharding::make_self();
  CheckpointStore store(run, *collective, {.keep = 2, .patience = std::chrono::milliseconds(50)});
  store.begin(manifest_at(step), real_job());
  store.settle();
  store.wait_written();
  store.commit();
  store.wait_committed();
}

std::int64_t step_taken(const fs::path& run) {
  const std::vector<std::string> sets{"run.dir=" + run.string()};
  configs::Config config = configs::load(source_dir() / "tests/support/plain_demo.yaml", sets);
  const auto collective = sharding::make_self();
  Resume resume(config, *collective, EpochChange::kRefuse);
  if (!resume.found()) return -1;
  const bool whole =
      resume.confirm("");  // outside of an assertion, which would keep what it throws
  REQUIRE(whole);
  return resume.manifest().state.step;
}

bool any_damaged(const fs::path& run) {
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    if (entry.path().extension() == ".damaged") return true;
  }
  return false;
}

struct Calls {
  Arm arm;
  Left left;
};

// Returns how many calls of the kind there are: each failed once.
int fail_each(const Calls& calls, const char* call, int error,
              const std::function<void(const fs::path&)>& body) {
  for (int nth = 1;; ++nth) {
    CAPTURE(call, nth, std::strerror(error));
    const TempDir run;
    save_as_one(run.path(), 1);
    std::string said;
    calls.arm(call, nth, error, run.path().c_str());
    try {
      body(run.path());
    } catch (const Error& failure) {
      said = failure.what();
      CHECK(failure.exit_code() == ExitCode::kIo);
    }
    const bool failed = calls.left() == 0;
    calls.arm("", 0, 0, "");
    if (!failed) return nth - 1;
    if (!said.empty()) CHECK_THAT(said, ContainsSubstring(std::strerror(error)));
    CHECK_FALSE(any_damaged(run.path()));
    // What failed after the rename is a whole checkpoint; what failed before it is none.
    CHECK(step_taken(run.path()) == (fs::exists(step_dir(run.path(), 2)) ? 2 : 1));
  }
}

}  // namespace

TEST_CASE("calls of a checkpoint fail", "[.failing-calls]") {
  const Calls calls{reinterpret_cast<Arm>(::dlsym(RTLD_DEFAULT, "failing_calls_arm")),
                    reinterpret_cast<Left>(::dlsym(RTLD_DEFAULT, "failing_calls_left"))};
  REQUIRE(calls.arm != nullptr);
  const auto write = [](const fs::path& run) { save_as_one(run, 2); };
  const auto read = [](const fs::path& run) { step_taken(run); };
  for (const int error : {EIO, ESTALE, ENOLCK, ENOSPC}) {
    for (const char* call : {"write", "fsync", "rename", "open"})
      CHECK(fail_each(calls, call, error, write) > 2);
    CHECK(fail_each(calls, "mkdir", error, write) > 0);
  }
  for (const int error : {EIO, ESTALE}) {
    CHECK(fail_each(calls, "read", error, read) > 2);
    CHECK(fail_each(calls, "open", error, read) > 2);
  }
}

TEST_CASE("whatever call of a checkpoint fails, the one before holds", "[fault]") {
  const TempDir dir;
  const fs::path library = dir.path() / "failing_calls.so";
  const CapturedRun built =
      run_captured({"cc", "-shared", "-fPIC", "-o", library.string(),
                    (source_dir() / "tests/support/failing_calls.c").string(), "-ldl"},
                   std::chrono::seconds(60));
  INFO(built.output);
  REQUIRE(built.exit_code == 0);
  const CapturedRun run =
      run_captured({executable_path().string(), "[.failing-calls]"}, std::chrono::seconds(120),
                   {{"LD_PRELOAD", library.string()}});
  INFO(run.output);
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.output, ContainsSubstring("All tests passed"));
}
