// What a changed config means for a run that continues, class by class.
#include "trainer/checkpoint/resume_contract.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::trainer;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

using Sets = std::vector<std::string>;

configs::Config demo(const Sets& sets = {}) {
  return configs::load(test::source_dir() / "tests/support/plain_demo.yaml", sets);
}

constexpr data::Cursor kInside{.epoch = 3, .step_in_epoch = 2}, kBoundary{.epoch = 3};

struct Outcome {
  configs::Config config;
  Contract contract;
};

Outcome resume(const Sets& before, const Sets& now, data::Cursor at,
               EpochChange epoch = EpochChange::kRefuse) {
  Outcome outcome{.config = demo(now), .contract = {}};
  RunState state;
  state.step = 20;
  state.cursor = at;
  outcome.contract = compare_with_checkpoint(outcome.config, configs::to_yaml(demo(before)), state,
                                             "step-000020", epoch);
  return outcome;
}

}  // namespace

TEST_CASE("resume: what is free takes effect without a word", "[unit]") {
  CHECK(resume({}, {"launch.max_restarts=9", "run.dir=elsewhere"}, kInside).contract.told.empty());
}

TEST_CASE("resume: what is told takes effect and is named with both values", "[unit]") {
  const Outcome outcome = resume({"optimizer.beta2=0.9"}, {"optimizer.beta2=0.95"}, kInside);
  REQUIRE(outcome.contract.told.size() == 1);
  CHECK(outcome.contract.told[0].key == "optimizer.beta2");
  CHECK(outcome.contract.told[0].from == "0.9");
  CHECK(outcome.contract.told[0].to == "0.95");
  CHECK(outcome.contract.told[0].effect == "told");
  CHECK(outcome.config.optimizer.beta2 == 0.95);
}

TEST_CASE("resume: shapes and dtypes never change, and all of them are named at once", "[unit]") {
  for (const EpochChange epoch :
       {EpochChange::kRefuse, EpochChange::kFinish, EpochChange::kRestart}) {
    CHECK_THROWS_MATCHES(
        resume({"model.dtype=fp32", "detection.num_queries=10"},
               {"model.dtype=bf16", "detection.num_queries=20"}, kBoundary, epoch),
        ConfigError,
        MessageMatches(ContainsSubstring("(R-027) step-000020") &&
                       ContainsSubstring("model.dtype is fp32 there and bf16 here") &&
                       ContainsSubstring("detection.num_queries is 10 there and 20 here") &&
                       ContainsSubstring("--fresh")));
  }
}

TEST_CASE("resume: the order of the data changes between epochs, and not inside one", "[unit]") {
  const Sets before{"batch.max_samples=4"}, now{"batch.max_samples=8"};
  const Outcome between = resume(before, now, kBoundary);
  CHECK(between.config.batch.max_samples == 8);
  CHECK(between.contract.told.at(0).effect == "epoch");
  CHECK_THROWS_MATCHES(
      resume(before, now, kInside), ConfigError,
      MessageMatches(ContainsSubstring("inside epoch 3, after 2 steps") &&
                     ContainsSubstring("batch.max_samples is 4 there and 8 here") &&
                     ContainsSubstring("--finish-epoch") && ContainsSubstring("--restart-epoch")));
}

TEST_CASE("resume: --finish-epoch keeps the checkpoint's order, --restart-epoch does not",
          "[unit]") {
  const Sets before{"batch.max_samples=4", "optimizer.beta2=0.9"},
      now{"batch.max_samples=8", "optimizer.beta2=0.95"};
  const Outcome finished = resume(before, now, kInside, EpochChange::kFinish);
  CHECK(finished.config.batch.max_samples == 4);
  CHECK(finished.config.optimizer.beta2 == 0.95);  // told: it takes effect at once
  CHECK(finished.contract.stop_at_epoch_end);
  CHECK_FALSE(finished.contract.restart_epoch);
  const Outcome restarted = resume(before, now, kInside, EpochChange::kRestart);
  CHECK(restarted.config.batch.max_samples == 8);
  CHECK(restarted.contract.restart_epoch);
  CHECK_FALSE(restarted.contract.stop_at_epoch_end);
  for (const EpochChange epoch : {EpochChange::kFinish, EpochChange::kRestart}) {
    const Contract nothing = resume(before, before, kInside, epoch).contract;
    CHECK_FALSE(nothing.stop_at_epoch_end);
    CHECK_FALSE(nothing.restart_epoch);
  }
}

TEST_CASE("resume: a pack that moved is no other pack; another weight is another order", "[unit]") {
  const Outcome moved = resume({"data.train=a.h5"}, {"data.train=b.h5"}, kInside);
  CHECK(moved.contract.told.at(0).key == "data.train");
  CHECK_THROWS_AS(resume({"data.train=a.h5"}, {"data.train=[{pack: a.h5, weight: 2}]"}, kInside),
                  ConfigError);
  // The old file is gone, so the epoch can only end with the new one.
  const Outcome gone =
      resume({"data.train=a.h5"}, {"data.train=b.h5"}, kInside, EpochChange::kFinish);
  CHECK_FALSE(gone.contract.stop_at_epoch_end);
  CHECK(configs::pack_names(gone.config.data.train) == "b.h5");
}

TEST_CASE("resume: a checkpoint without a config resumes", "[unit]") {
  configs::Config config = demo();
  const Contract contract =
      compare_with_checkpoint(config, std::nullopt, {}, "step-000020", EpochChange::kRefuse);
  CHECK(contract.told.empty());
  CHECK(contract.unknown.empty());
}

TEST_CASE("resume: what changed is recorded, one line per resume", "[unit]") {
  const TempDir run;
  Outcome outcome = resume({"schedule.max_steps=10"}, {"schedule.max_steps=40"}, kInside);
  outcome.config.run.dir = run.path().string();
  Manifest manifest;
  manifest.state.step = 20;
  manifest.world_size = 2;
  for (int twice = 0; twice < 2; ++twice)
    record_resume(outcome.config, outcome.contract, manifest, "step-000020", 4);
  const std::vector<std::string> lines = split(read_text(run.path() / "resumes.jsonl"), '\n');
  REQUIRE(lines.size() >= 2);
  const auto row = nlohmann::json::parse(lines[1]);
  CHECK(row["step"] == 20);
  CHECK(row["ranks_before"] == 2);
  CHECK(row["ranks"] == 4);
  CHECK(row["changed"][0]["key"] == "schedule.max_steps");
  CHECK(row["changed"][0]["to"] == "40");
}
