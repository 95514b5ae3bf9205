// Stop anywhere, continue on any number of ranks, end with the same bits.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>

#include "base/error.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/assembly/detector.h"
#include "trainer/log_capture.h"
#include "trainer/show/metrics.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE(
    "a stopped run continues from its checkpoint on 1, 2 or 4 ranks with the same losses and bits",
    "[ranks][fault]") {
  const std::string constant =
      "schedule.kind=constant";  // so that a shorter first part has the same rates
  const TempDir whole_dir;
  const RunResult whole = run_threads(tiny_config(whole_dir.path(), {constant}), 2).front();

  for (const int ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    const TempDir dir;
    run_threads(tiny_config(dir.path(), {constant, "schedule.max_steps=10"}), 2);
    const RunResult rest = run_threads(tiny_config(dir.path(), {constant}), ranks).front();
    CHECK(rest.parameters == whole.parameters);
    CHECK(rest.losses == std::vector<double>(whole.losses.begin() + 10, whole.losses.end()));

    std::vector<double> logged;
    for (const auto& row : trainer::read_metrics(dir.path() / "metrics.jsonl")) {
      if (row.contains("loss")) logged.push_back(row.at("loss"));
    }
    CHECK(logged == whole.losses);  // no step twice, none missing
  }
}

TEST_CASE("an augmented run continues with the same bits, before and after augmentation ends",
          "[ranks][fault]") {
  const std::string constant = "schedule.kind=constant";
  for (const int stop : {9, 17}) {  // augmentation ends at step 15 of 20
    CAPTURE(stop);
    const TempDir whole_dir;
    const RunResult whole =
        run_threads(tiny_config(whole_dir.path(), augmented({constant})), 2).front();
    const TempDir dir;
    // The first part is shorter, and its share of steps ends at 15, too, or never.
    const std::string close =
        stop < 15 ? "data.augment.close_after=1" : "data.augment.close_after=0.88";  // of 17
    run_threads(
        tiny_config(dir.path(),
                    augmented({constant, "schedule.max_steps=" + std::to_string(stop), close})),
        1);
    const RunResult rest = run_threads(tiny_config(dir.path(), augmented({constant})), 4).front();
    CHECK(rest.parameters == whole.parameters);
    CHECK(rest.losses == std::vector<double>(whole.losses.begin() + stop, whole.losses.end()));
  }
}

TEST_CASE("a run on another pack refuses the checkpoint", "[ranks][fault]") {
  const TempDir dir;
  run_threads(tiny_config(dir.path(), {"schedule.max_steps=10"}), 1);
  const std::string other = "data.train=" + (TinyData::instance().folder() / "val.h5").string();
  CHECK_THROWS_MATCHES(
      run_threads(tiny_config(dir.path(), {other}), 2), ConfigError,
      MessageMatches(ContainsSubstring("(R-027)") &&
                     ContainsSubstring("on another pack than " + other.substr(11))));
}

namespace {

// Images per epoch, as metrics.jsonl counts them.
std::map<std::int64_t, double> images_by_epoch(const fs::path& run) {
  std::map<std::int64_t, double> images;
  for (const auto& row : trainer::read_metrics(run / "metrics.jsonl")) {
    if (row.contains("images"))
      images[static_cast<std::int64_t>(row.at("epoch"))] += row.at("images");
  }
  return images;
}

// 24 samples, 8 per step: 3 steps per epoch. Ends after a step of epoch 3.
void train_ten_steps(const fs::path& run) {
  run_threads(tiny_config(run, {"schedule.kind=constant", "schedule.max_steps=10"}), 1);
}

configs::Config other_batches(const fs::path& run) {
  return tiny_config(run, {"schedule.kind=constant", "batch.max_samples=3"});
}

}  // namespace

TEST_CASE("resume: other batches are refused inside an epoch, alike on all ranks",
          "[ranks][fault]") {
  const TempDir dir;
  train_ten_steps(dir.path());
  CHECK_THROWS_MATCHES(
      run_threads(other_batches(dir.path()), 2), ConfigError,
      MessageMatches(ContainsSubstring("(R-027) step-000010 lies inside epoch 3, after 1 steps") &&
                     ContainsSubstring("batch.max_samples is 2 there and 3 here")));
}

TEST_CASE("resume: --finish-epoch ends the epoch as it began, and every epoch sees each image once",
          "[ranks]") {
  const TempDir dir;
  train_ten_steps(dir.path());
  const std::shared_ptr<sharding::Collective> alone = sharding::make_self();
  {
    trainer::Trainer first(other_batches(dir.path()), alone, trainer::EpochChange::kFinish);
    first.train();
    CHECK(first.waits_for_new_values());
    CHECK(first.step() == 12);
  }
  trainer::Trainer second(other_batches(dir.path()), alone, trainer::EpochChange::kFinish);
  second.train();
  CHECK_FALSE(second.waits_for_new_values());
  CHECK(second.step() == 20);
  const std::map<std::int64_t, double> images = images_by_epoch(dir.path());
  for (std::int64_t epoch = 0; epoch < images.rbegin()->first; ++epoch) {
    CAPTURE(epoch);
    CHECK(images.at(epoch) == 24);
  }
  CHECK(read_text(dir.path() / "checkpoints/step-000012/config.yaml").find("max_samples: 2") !=
        std::string::npos);
}

TEST_CASE("resume: --restart-epoch begins the epoch anew with the new batches", "[ranks]") {
  const TempDir dir;
  train_ten_steps(dir.path());
  trainer::Trainer again(other_batches(dir.path()), sharding::make_self(),
                         trainer::EpochChange::kRestart);
  again.train();
  CHECK(images_by_epoch(dir.path()).at(3) == 8 + 24);
}

TEST_CASE("resume: another dtype or size is refused with both values", "[ranks][fault]") {
  const TempDir dir;
  run_threads(tiny_config(dir.path(), {"schedule.max_steps=3"}), 1);
  CHECK_THROWS_MATCHES(
      run_threads(tiny_config(dir.path(), {"model.dtype=bf16"}), 2), ConfigError,
      MessageMatches(ContainsSubstring("model.dtype is fp32 there and bf16 here")));
  CHECK(fs::exists(dir.path() / "checkpoints/step-000003"));  // not called damaged
}

TEST_CASE("a run that is done says so in one line and trains nothing", "[ranks]") {
  const TempDir dir;
  const configs::Config config = tiny_config(dir.path(), {"schedule.max_steps=3"});
  run_threads(config, 1);
  const LogCapture log;
  const RunResult again = run_threads(config, 1).front();
  CHECK(again.losses.empty());
  CHECK_THAT(log.text(),
             ContainsSubstring("nothing is left to train: step 3 of schedule.max_steps"));
}

TEST_CASE("weights lie in one file per rank, with the bits of the parameters, and load anywhere",
          "[ranks]") {
  const std::string dtype = GENERATE("model.dtype=fp32", "model.dtype=bf16", "model.dtype=fp16");
  const std::string master = GENERATE("optimizer.master=fp32", "optimizer.master=split");
  const std::string decay = GENERATE("ema.decay=0", "ema.decay=0.5");
  if (dtype != "model.dtype=bf16" && master != "optimizer.master=fp32") return;
  CAPTURE(dtype, master, decay);
  const TempDir dir;
  const configs::Config config =
      tiny_config(dir.path(), {dtype, master, decay, "schedule.max_steps=2"});
  const auto train = [&](trainer::Trainer& trainer) {
    trainer.train();
    if (config.ema.decay > 0) trainer.engine().show_ema();  // the weights that people use
  };
  const std::string trained = run_threads(config, 4, train).front().parameters;
  const fs::path folder = dir.path() / "checkpoints/step-000002";
  for (const char* part : {"1", "2", "3", "4"})
    CHECK(fs::exists(folder / (std::string("model-0000") + part + "-of-00004.safetensors")));
  CHECK(fs::exists(folder / "model.safetensors.index.json"));
  CHECK_FALSE(fs::exists(folder / "model.safetensors"));
  const data::Tokenizer tokenizer(config.tokens.tokenizer);
  CHECK(parameter_hash(trainer::load_detector(config, folder, tokenizer)) == trained);
}
