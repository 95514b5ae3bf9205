#include "trainer/run_log.h"

#include <ATen/ATen.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/files.h"
#include "trainer/log_capture.h"

namespace muster::trainer {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

// Three groups: one that trains, one without parameters, one that is frozen.
sharding::ParamRegistry three_groups() {
  return {{{"model.weight", at::zeros({2, 2})}, {"visual.weight", at::zeros({2, 2})}},
          {{.name = "model", .prefixes = {"model."}},
           {.name = "lm_head", .prefixes = {"lm_head."}},
           {.name = "visual", .prefixes = {"visual."}, .frozen = true}},
          /*decay_1d=*/false};
}

struct Rig {
  TempDir dir;
  test::LogCapture captured;
  configs::Config config = make_config(dir.path());
  LossTerms terms{std::vector<LossTerms::Entry>{{.name = "lm", .weight = 1}}};
  sharding::ParamRegistry registry = three_groups();
  RunLog log{config, terms, registry, {.length = {.steps = 10, .steps_per_epoch = 5, .epochs = 2}}};

  static configs::Config make_config(const fs::path& run_dir) {
    configs::Config config{};
    config.run.dir = run_dir.string();
    config.schedule.max_steps = 10;
    config.logging.every_steps = 1;
    config.logging.tensorboard = true;
    return config;
  }

  std::string tensorboard() const {
    std::string bytes;
    for (const auto& entry : fs::directory_iterator(dir.path() / "tensorboard"))
      bytes += read_text(entry.path());
    return bytes;
  }
};

StepStats first_step() {
  StepStats stats;
  stats.step = 1;
  stats.applied = true;
  stats.agreed.loss = {.total = 2.5, .terms = {2.5}};
  stats.agreed.tokens = 100;
  stats.group_lrs = {1e-4, 1e-2, 1e-3};
  stats.group_norms = {1, 0, 0};
  stats.phases.data = 0.1;
  stats.phases.forward = 0.9;
  return stats;
}

EvalResult nothing_large() {
  EvalResult result;
  result.coco.metrics = {{"AP", 0.25}, {"AP50", 0.5}, {"APl", -1}};
  result.class_agnostic_ap50 = -1;
  return result;
}

TEST_CASE("the progress line shows the rate of a group that trains something", "[unit]") {
  const sharding::ParamRegistry registry = three_groups();
  CHECK(shown_lr(registry, std::vector<double>{1e-4, 1e-2, 1e-3}) == 1e-4);
  Rig rig;
  rig.log.step(first_step());
  CHECK_THAT(rig.captured.text(), ContainsSubstring("step 1/10 loss 2.5 lr 1.0e-04"));
}

TEST_CASE("six steps say how long the run will take, also where steps are fast", "[unit]") {
  Rig rig;
  StepStats stats = first_step();
  stats.phases = {};
  for (stats.step = 1; stats.step <= 6; ++stats.step) {
    stats.phases.forward = stats.step == 1 ? 30 : 0.043;  // the first one pays for the start
    rig.log.step(stats);
  }
  CHECK_THAT(rig.captured.text(), ContainsSubstring("at 0.043 s a step the run takes 0.4 s"));
}

TEST_CASE("a step's line holds the terms, groups and phases by name", "[unit]") {
  Rig rig;
  rig.log.step(first_step());
  const auto row = read_metrics(rig.dir.path() / "metrics.jsonl").at(0);
  CHECK(row.at("loss.lm") == 2.5);
  CHECK(row.at("lr.lm_head") == 1e-2);
  CHECK(row.at("grad_norm.model") == 1);
  CHECK(row.at("seconds") == 1);
  CHECK(row.at("seconds.forward") == 0.9);
  CHECK(row.at("tokens_per_s") == 100);
}

TEST_CASE("norms of weights and updates stand in the lines of measured steps alone", "[unit]") {
  Rig rig;
  StepStats stats = first_step();
  rig.log.step(stats);
  stats.step = 2;
  stats.group_updates = {{.weight = 8, .update = 0.5}, {}, {}};
  rig.log.step(stats);
  const auto rows = read_metrics(rig.dir.path() / "metrics.jsonl");
  CHECK(!rows.at(0).contains("weight_norm.model"));
  CHECK(rows.at(1).at("weight_norm.model") == 8);
  CHECK(rows.at(1).at("update_ratio.model") == 0.0625);
  CHECK(!rows.at(1).contains("update_ratio.lm_head"));  // has nothing to train
  CHECK_THAT(rig.tensorboard(), ContainsSubstring("update_ratio.model"));
}

TEST_CASE("the MFU is told where the device's peak is known, and nowhere else", "[unit]") {
  Rig rig;
  StepStats stats = first_step();
  stats.forward_flops = 1'000'000'000'000;
  rig.log.step(stats);
  CHECK_THAT(rig.captured.text(), !ContainsSubstring("MFU"));
  CHECK(!read_metrics(rig.dir.path() / "metrics.jsonl").at(0).contains("mfu"));
  const TempDir dir;
  const configs::Config config = Rig::make_config(dir.path());
  RunLog log(config, rig.terms, rig.registry,
             {.length = {.steps = 10, .steps_per_epoch = 5}, .ranks = 2, .peak_tflops = 5});
  log.step(stats);
  const auto row = read_metrics(dir.path() / "metrics.jsonl").at(0);
  // Half of the parameters learn: 1e12 * 2.5 in one second on two ranks.
  CHECK(row.at("tflops") == Approx(1.25));
  CHECK(row.at("mfu") == Approx(0.25));
  CHECK_THAT(rig.captured.text(), ContainsSubstring("MFU 25 %"));
}

TEST_CASE("the MFU of a detector without language counts the tower's weights alone", "[unit]") {
  const Rig rig;
  const TempDir dir;
  configs::Config config = Rig::make_config(dir.path());
  config.detection.enabled = true;
  config.detection.memory = configs::Memory::kPatches;
  config.data.answer = configs::Answer::kNone;
  RunLog log(config, rig.terms, rig.registry,
             {.length = {.steps = 10, .steps_per_epoch = 5}, .ranks = 1, .peak_tflops = 5});
  StepStats stats = first_step();
  stats.forward_flops = 1'000'000'000'000;
  log.step(stats);
  // The tower is frozen, so that backward makes gradients of activations alone.
  CHECK(read_metrics(dir.path() / "metrics.jsonl").at(0).at("tflops") == Approx(2));
}

TEST_CASE("wire_bytes counts from the step before, on from where the process began", "[unit]") {
  const TempDir dir;
  const configs::Config config = Rig::make_config(dir.path());
  const LossTerms terms(std::vector<LossTerms::Entry>{});
  const sharding::ParamRegistry registry = three_groups();
  RunLog log(config, terms, registry, {.bytes_sent = 100});
  StepStats stats = first_step();
  stats.agreed.bytes_sent = 130;
  log.step(stats);
  stats.agreed.bytes_sent = 170;
  log.step(stats);
  const auto rows = read_metrics(dir.path() / "metrics.jsonl");
  CHECK(rows.at(0).at("wire_bytes") == 30);
  CHECK(rows.at(1).at("wire_bytes") == 40);
}

TEST_CASE("a skipped step says why", "[unit]") {
  Rig rig;
  StepStats stats = first_step();
  stats.applied = false;
  stats.skip_reason = "loss.lm is not finite (nan)";
  rig.log.step(stats);
  CHECK_THAT(rig.captured.text(),
             ContainsSubstring("step 1 skipped on all ranks: loss.lm is not finite (nan)"));
}

TEST_CASE("what an evaluation cannot measure is n/a in the log and no point in TensorBoard",
          "[unit]") {
  Rig rig;
  rig.log.evaluation(1, {.head = nothing_large()});
  CHECK_THAT(rig.captured.text(),
             ContainsSubstring("step 1: AP 0.2500  AP50 0.5000  class-agnostic AP50 n/a"));
  const std::string events = rig.tensorboard();
  CHECK_THAT(events, ContainsSubstring("eval.AP50"));
  CHECK_THAT(events, !ContainsSubstring("eval.APl"));
  CHECK_THAT(events, !ContainsSubstring("eval.class_agnostic_AP50"));
  const auto row = read_metrics(rig.dir.path() / "metrics.jsonl").at(0);
  CHECK(row.at("eval.APl") == -1);  // the file says it as COCO does
}

TEST_CASE("an evaluation's loss and answers have names of their own, and evaluation.json all of it",
          "[unit]") {
  Rig rig;
  Evaluation evaluation{.head = nothing_large()};
  evaluation.loss = ValidationLoss{.loss = {.total = 1.5, .terms = {0.5}}, .perplexity = 1.6};
  evaluation.loss_names = {"lm"};
  TextResult text;
  text.answers = 4;
  text.exact = 1;
  text.malformed = 2;
  text.has_boxes = true;
  text.boxes.coco.metrics = {{"AP", 0.1}, {"AP50", 0.2}};
  evaluation.text = text;
  rig.log.evaluation(7, evaluation);
  const auto row = read_metrics(rig.dir.path() / "metrics.jsonl").at(0);
  CHECK(row.at("eval.loss") == 1.5);
  CHECK(row.at("eval.loss.lm") == 0.5);
  CHECK(row.at("eval.perplexity") == 1.6);
  CHECK(row.at("eval.text.AP50") == 0.2);
  CHECK(row.at("eval.text.exact") == 0.25);
  CHECK(row.at("eval.text.malformed") == 0.5);
  CHECK(row.at("eval.AP50") == 0.5);
  CHECK_THAT(rig.captured.text(), ContainsSubstring("1 of 4 word for word") &&
                                      ContainsSubstring("validation loss 1.5000"));
  const auto record = read_evaluation(rig.dir.path() / "evaluation.json");
  REQUIRE(record);
  CHECK(record->step == 7);
  CHECK(record->metrics.at("loss.lm") == 0.5);
}

TEST_CASE("logging.command is fed the lines of metrics.jsonl", "[unit]") {
  const TempDir dir;
  configs::Config config = Rig::make_config(dir.path() / "run");
  config.logging.command = {"sh", "-c", "cat > \"$MUSTER_RUN_DIR/fed.jsonl\""};
  const LossTerms terms{std::vector<LossTerms::Entry>{{.name = "lm", .weight = 1}}};
  const sharding::ParamRegistry registry = three_groups();
  {
    RunLog log(config, terms, registry, {});
    log.step(first_step());
    log.evaluation(1, {.head = nothing_large()});
  }
  CHECK(read_text(dir.path() / "run" / "fed.jsonl") ==
        read_text(dir.path() / "run" / "metrics.jsonl"));
}

}  // namespace
}  // namespace muster::trainer
