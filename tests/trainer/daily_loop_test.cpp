// Length in epochs, the best model, the running mean, freezing, a look inside: runs of a few steps.
#include <fmt/core.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "configs/groups.h"
#include "model/files/safetensors_reader.h"
#include "trainer/anomaly.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/export_folder.h"
#include "trainer/assembly/finite_weights.h"
#include "trainer/assembly/first_micro_batch.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/manifest/step_folders.h"
#include "trainer/gradient_report.h"
#include "trainer/kept_batch.h"
#include "trainer/log_capture.h"
#include "trainer/profile.h"
#include "trainer/show/metrics.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::run_threads;
using test::tiny_config;

const std::vector<std::string> kMean = {"ema.decay=0.9", "ema.tau=3"};

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_CASE("a run of whole epochs ends at the end of the last, resumed or not", "[ranks]") {
  const TempDir whole_dir;
  const configs::Config config = tiny_config(whole_dir.path(), {"schedule.epochs=3"});
  const RunData data(config);
  const std::int64_t steps = data.sampler.steps(0) + data.sampler.steps(1) + data.sampler.steps(2);
  const test::RunResult whole = run_threads(config, 2).front();
  CHECK(static_cast<std::int64_t>(whole.losses.size()) == steps);

  const TempDir dir;
  run_threads(tiny_config(dir.path(), {"schedule.epochs=3"}), 1);
  CHECK(fs::exists(dir.path() / "checkpoints" / step_folder_name(steps)));
  const nlohmann::json length = parse_json(read_text(dir.path() / "length.json"));
  CHECK(length["steps"] == 3 * data.sampler.steps(0));
  CHECK(length["epochs"] == 3);
}

TEST_CASE("positions are whole numbers while epochs are equally long", "[unit]") {
  const TempDir dir;
  const configs::Config config = tiny_config(dir.path(), {"schedule.epochs=2"});
  const RunData data(config);
  const RunLength length(config.schedule, data.sampler);
  const std::int64_t first = data.sampler.steps(0);
  CHECK(length.position(first + 1, {1, 1}, first).step == static_cast<double>(first + 1));
  CHECK(length.position(0, {1, first}, first).step == static_cast<double>(2 * first));
  CHECK(length.position(0, {1, 1}, 2 * first).step == static_cast<double>(first) + 0.5);
  CHECK_FALSE(length.over(1000, {1, first - 1}));
  CHECK(length.over(0, {2, 0}));
  const LengthReport report = report_length(config.schedule, data.sampler, data.train);
  CHECK(report.images == 2 * data.train.size());
  CHECK(report.warnings().empty());
  LengthReport long_one = report;
  long_one.epochs = 10000;
  REQUIRE(long_one.warnings().size() == 1);
  CHECK_THAT(long_one.warnings()[0], ContainsSubstring("the run is 10000 epochs long"));
}

TEST_CASE("the best state is committed at the evaluation that finds it, and kept", "[ranks]") {
  const TempDir dir;
  run_threads(tiny_config(dir.path(), {"schedule.max_steps=6", "checkpoint.every_steps=1000",
                                       "eval.every_steps=2", "checkpoint.keep=1"}),
              1);
  const auto best = best_folder_name(dir.path() / "checkpoints");
  REQUIRE(best.has_value());
  CHECK(fs::exists(dir.path() / "checkpoints" / *best / "manifest.json"));
  CHECK(fs::exists(dir.path() / "checkpoints" / step_folder_name(6)));
}

TEST_CASE("law 9: a run with a running mean has the same bits on 1, 2 and 4 ranks", "[ranks]") {
  const TempDir one_dir, other_dir;
  const auto five = joined(kMean, {"schedule.max_steps=5", "checkpoint.every_steps=5"});
  run_threads(tiny_config(one_dir.path(), five), 1);
  for (const int ranks : {2, 4}) {
    CAPTURE(ranks);
    const TempDir dir;
    run_threads(tiny_config(dir.path(), five), ranks);
    const auto weights = [](const fs::path& run) {
      const model::SafetensorsReader reader(run / "checkpoints" / step_folder_name(5));
      std::string hashes;
      for (const std::string& name : reader.names()) {
        const at::Tensor t = reader.copy(name).contiguous();
        hashes += name + xxh128({static_cast<const std::byte*>(t.data_ptr()), t.nbytes()});
      }
      return hashes;
    };
    CHECK(weights(dir.path()) == weights(one_dir.path()));
  }
}

TEST_CASE("law 9: a run with a running mean continues with the same bits", "[ranks][fault]") {
  const auto constant = joined(kMean, {"schedule.kind=constant", "checkpoint.every_steps=5"});
  const TempDir whole_dir, dir;
  const auto ten = joined(constant, {"schedule.max_steps=10"});
  const test::RunResult whole = run_threads(tiny_config(whole_dir.path(), ten), 2).front();
  run_threads(tiny_config(dir.path(), joined(constant, {"schedule.max_steps=5"})), 2);
  const test::RunResult rest = run_threads(tiny_config(dir.path(), ten), 1).front();
  CHECK(rest.parameters == whole.parameters);
  CHECK(rest.losses == std::vector<double>(whole.losses.begin() + 5, whole.losses.end()));
}

TEST_CASE("a checkpoint's weights are the running mean, its masters are not", "[ranks]") {
  const TempDir dir;
  const configs::Config config =
      tiny_config(dir.path(), joined(kMean, {"schedule.max_steps=3", "checkpoint.every_steps=3"}));
  Trainer trainer(config, sharding::make_self());
  trainer.train();
  const std::string name = "model.norm.weight";
  const model::SafetensorsReader reader(dir.path() / "checkpoints" / step_folder_name(3));
  const at::Tensor mean = trainer.engine().full(name, sharding::StateKind::kEma);
  CHECK(reader.copy(name).equal(mean));
  CHECK_FALSE(trainer.engine().full(name, sharding::StateKind::kMaster).equal(mean));
}

std::string exported_line(const fs::path& from, const fs::path& out, ExportedWeights weights) {
  const test::LogCapture captured;
  export_folder(from, out, {.weights = weights});
  const std::string text = captured.text();
  const std::size_t at = text.find("weights: ");
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

TEST_CASE("export: the running mean unless raw weights are asked for, bit for bit either way",
          "[ranks]") {
  const TempDir dir;
  const fs::path run = dir.path() / "run", raw = dir.path() / "raw", ema = dir.path() / "ema";
  const auto config =
      tiny_config(run, joined(kMean, {"schedule.max_steps=3", "checkpoint.every_steps=3",
                                      "groups.visual.lr=0", "logging.level=info"}));
  // Two shards, of which both have a part of most parameters.
  const test::RunResult trained = run_threads(config, 2).front();
  const fs::path step = run / "checkpoints" / step_folder_name(3);
  CHECK_THAT(exported_line(step, ema, ExportedWeights::kStored),
             ContainsSubstring("the running mean (ema), as evaluated"));
  CHECK_THAT(exported_line(step, raw, ExportedWeights::kRaw),
             ContainsSubstring("raw, as the last step left them"));
  const data::Tokenizer tokenizer(raw);
  const auto hash = [&](const fs::path& folder) {
    return test::parameter_hash(
        load_detector(configs::load(folder / "config.yaml"), folder, tokenizer));
  };
  CHECK(hash(ema) == hash(step));
  CHECK(hash(raw) == trained.parameters);
  CHECK(hash(raw) != hash(ema));
  CHECK_THROWS_WITH(export_folder(ema, dir.path() / "x", {.weights = ExportedWeights::kRaw}),
                    ContainsSubstring("name a step-* folder of the run"));
}

TEST_CASE("export: without a running mean there are raw weights alone", "[ranks]") {
  const TempDir dir;
  const fs::path run = dir.path() / "run", out = dir.path() / "raw";
  run_threads(tiny_config(run, {"schedule.max_steps=2", "logging.level=info"}), 1);
  const fs::path step = run / "checkpoints" / step_folder_name(2);
  CHECK_THAT(exported_line(step, out, ExportedWeights::kRaw), ContainsSubstring("weights: raw: "));
  CHECK_THROWS_WITH(export_folder(step, dir.path() / "x", {.weights = ExportedWeights::kEma}),
                    ContainsSubstring("has no running mean (ema.decay)"));
}

TEST_CASE(
    "norms of weights and updates are in every logging.every_steps-th line, same bits on 1, 2 "
    "and 4 ranks",
    "[ranks]") {
  const auto lines = [](int ranks) {
    const TempDir dir;
    run_threads(tiny_config(dir.path(), {"schedule.max_steps=5", "logging.every_steps=2"}), ranks);
    std::map<std::string, double> measured;
    for (const auto& row : read_metrics(dir.path() / "metrics.jsonl"))
      for (const auto& [name, value] : row)
        if (name.starts_with("weight_norm.") || name.starts_with("update_ratio."))
          measured[fmt::format("{} {}", name, row.at("step"))] = value;
    return measured;
  };
  const auto alone = lines(1);
  CHECK(alone.contains("weight_norm.model 2"));
  CHECK(alone.contains("update_ratio.detection_head 4"));
  CHECK(!alone.contains("weight_norm.model 1"));
  CHECK(alone.at("update_ratio.detection_head 4") > 0);
  CHECK(lines(2) == alone);
  CHECK(lines(4) == alone);
}

TEST_CASE("during freeze_epochs neither the head nor its gradient moves anything", "[ranks]") {
  const TempDir dir;
  const configs::Config config =
      tiny_config(dir.path(), {"detection.freeze_epochs=1", "data.answer=labels", "loss.lm=1"});
  Trainer trainer(config, sharding::make_self());
  const auto head = [&] {
    return trainer.engine().full("detection_head.score.weight", sharding::StateKind::kMaster);
  };
  const at::Tensor before = head();
  const StepStats first = trainer.train_step();
  CHECK(head().equal(before));
  CHECK(first.group_norms[configs::index_of(configs::GroupId::kDetectionHead)] == 0);
  CHECK(first.group_norms[configs::index_of(configs::GroupId::kModel)] > 0);
  StepStats last = first;
  while (last.epoch == 0) last = trainer.train_step();
  CHECK_FALSE(head().equal(before));
}

TEST_CASE("--profile writes phases, operations, the loader and collectives", "[ranks]") {
  CHECK_THROWS_AS(ProfiledSteps::parse("10..12"), UsageError);
  CHECK_THROWS_AS(ProfiledSteps::parse("steps=3..2"), UsageError);
  CHECK(ProfiledSteps::parse("steps=2").last == 2);
  const TempDir dir;
  const configs::Config config = tiny_config(dir.path(), {"schedule.max_steps=3"});
  Trainer trainer(config, sharding::make_self());
  trainer.set_profile(ProfiledSteps::parse("steps=2..3"));
  trainer.train();
  const auto trace = parse_json(read_text(dir.path() / "profile" / "rank-0.json"));
  std::map<std::string, int> seen;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] == "X") ++seen[event["cat"].get<std::string>()];
  }
  CHECK(seen["phase"] >= 8);
  CHECK(seen["operation"] > 100);
  CHECK(seen["backward"] > 10);
}

TEST_CASE("the first NaN of a batch is named: operation, block, forward or backward", "[unit]") {
  const TempDir dir;
  const configs::Config config = tiny_config(dir.path());
  const RunData data(config);
  model::Detector detector = build_detector(config, data.tokenizer, data.train.class_map());
  const MicroBatch batch = first_micro_batch(data);
  const auto clean = report_gradients(config, detector, batch, {.watched = true}).anomaly;
  INFO((clean ? clean->text() : ""));
  CHECK_FALSE(clean.has_value());

  AnomalyWatch watch;
  watch.enter("visual.blocks.3.");
  const at::Tensor logged = at::full({3}, -1.0).log();
  watch.enter("detection_head.");
  const at::Tensor later = (logged * 2).sqrt();
  const auto found = watch.first();
  REQUIRE(found.has_value());
  CHECK(found->operation == "aten::log");
  CHECK(found->block == "visual.blocks.3.");
  CHECK_FALSE(found->in_backward);
  CHECK_THAT(found->text(), ContainsSubstring("made the first NaN"));
}

TEST_CASE("a NaN that only backward makes names the operation it differentiates", "[unit]") {
  const at::Tensor x = at::zeros({2}).requires_grad_(true);
  AnomalyWatch watch;
  watch.enter("model.layers.1.");
  const at::Tensor root = x.sqrt();          // infinite slope at 0
  (root * at::zeros({2})).sum().backward();  // 0 times infinity
  const auto found = watch.first();
  REQUIRE(found.has_value());
  CHECK(found->in_backward);
  CHECK(found->block == "model.layers.1.");
  CHECK(found->forward == "aten::sqrt");
}

TEST_CASE("a skipped step's micro-batch is kept, read again, and replayed", "[ranks][fault]") {
  const TempDir dir;
  const configs::Config config =
      tiny_config(dir.path(), {"health.max_grad_norm=1e-9", "health.max_skips_in_row=100",
                               "health.kept_batches=2", "schedule.max_steps=4"});
  run_threads(config, 2);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(dir.path() / kKeptFolder))
    files.push_back(entry.path());
  REQUIRE(files.size() == 2);
  const KeptBatch kept = read_kept_batch(files.front());
  CHECK_THAT(kept.reason, ContainsSubstring("health.max_grad_norm"));
  CHECK(kept.samples.size() == kept.batch.sample_ids.size());
  const RunData data(config);
  model::Detector detector = build_detector(config, data.tokenizer, data.train.class_map());
  const GradientReport report =
      report_gradients(config, detector, kept.batch, {.number = kept.number, .watched = true});
  CHECK(std::isfinite(report.loss));
  CHECK_FALSE(report.anomaly.has_value());
  CHECK_THROWS_AS(read_kept_batch(dir.path() / "config.yaml"), Error);
}

TEST_CASE("NaN in weights that are read is named as such", "[unit][fault]") {
  at::Tensor bad = at::zeros({4});
  bad[2] = std::nanf("");
  const std::vector<model::NamedParam> weights = {{"model.a", at::zeros({3})}, {"model.b", bad}};
  CHECK_THROWS_WITH(require_finite(weights, "model.path: x"),
                    ContainsSubstring("1 weights hold NaN or infinity: model.b (1 of 4)"));
  CHECK_NOTHROW(require_finite({weights.front()}, "x"));
}

}  // namespace
}  // namespace muster::trainer
