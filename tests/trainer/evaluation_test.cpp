// Evaluation of a whole detector: the same on any number of ranks, and right where it is known.
#include "trainer/evaluation.h"

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "model/eval_mode.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

struct Bench {
  explicit Bench(const std::vector<std::string>& overrides = {})
      : config(test::tiny_config(dir.path(), overrides)),
        tokenizer(config.tokens.tokenizer),
        set(data::open_set(configs::pack_files(config.data.val), config.data.limit)) {}

  // As one rank, with a detector of its own.
  Evaluation run(sharding::Collective& collective) const {
    model::Detector detector = build_detector(config, tokenizer, set.class_map());
    std::optional<EvalBatches> kept;
    return evaluate_all(detector, tokenizer, set, encoder(), config, collective, kept);
  }

  std::vector<Evaluation> run_ranks(int ranks) const {
    auto collectives = sharding::make_threads(ranks, std::chrono::seconds(60));
    std::vector<Evaluation> results(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (std::size_t r = 0; r < results.size(); ++r)
      threads.emplace_back([&, r] { results[r] = run(*collectives[r]); });
    for (std::thread& thread : threads) thread.join();
    return results;
  }

  data::SampleEncoder encoder() const {
    return {tokenizer, encode_options(config, model::read_config(find_model(config.model)))};
  }

  TempDir dir;
  configs::Config config;
  data::Tokenizer tokenizer;
  data::SampleSet set;
};

// All of an evaluation, but for the clock.
std::string everything(const Evaluation& evaluation) {
  std::string text = evaluation_to_json(evaluation_record(1, evaluation));
  const auto append = [&](const BoxResult& boxes) {
    for (const EvalBox& box : boxes.boxes)
      text += fmt::format("{} {} {} {} {} {} {}\n", box.image_id, box.category_id, box.xywh[0],
                          box.xywh[1], box.xywh[2], box.xywh[3], box.score);
    for (const std::int64_t errors : boxes.errors) text += fmt::format("{} ", errors);
  };
  if (evaluation.head) append(*evaluation.head);
  if (evaluation.text) append(evaluation.text->boxes);
  return text;
}

TEST_CASE("evaluation: head, answers and loss are the same, bit by bit, on 1, 2 and 3 ranks",
          "[unit]") {
  const Bench bench({"eval.from=both", "data.answer=json", "loss.lm=1", "batch.max_tokens=4096",
                     "eval.max_answer_tokens=24"});
  const auto self = sharding::make_self();
  const std::string alone = everything(bench.run(*self));
  CHECK(alone.find("\"loss.lm\"") != std::string::npos);
  CHECK(alone.find("\"text.AP50\"") != std::string::npos);
  for (const int ranks : {2, 3})
    for (const Evaluation& evaluation : bench.run_ranks(ranks)) {
      INFO(ranks);
      CHECK((everything(evaluation) == alone));
    }
}

TEST_CASE("evaluation: head, answers and loss are the same, bit by bit, for 1, 2 and 3 threads",
          "[unit]") {
  const auto with_threads = [](int threads) {
    return Bench({"eval.from=both", "data.answer=json", "loss.lm=1", "batch.max_tokens=4096",
                  "eval.max_answer_tokens=24", "batch.max_samples=1",
                  "data.val=" + (test::TinyData::instance().folder() / "train.h5").string(),
                  "data.limit=5", fmt::format("run.threads_per_rank={}", threads)});
  };
  const auto self = sharding::make_self();
  const std::string alone = everything(with_threads(1).run(*self));
  CHECK(alone.find("\"loss.lm\"") != std::string::npos);
  for (const int threads : {2, 3}) {
    INFO(threads);
    CHECK((everything(with_threads(threads).run(*self)) == alone));
  }
  // Ranks of several threads, too.
  for (const Evaluation& evaluation : with_threads(2).run_ranks(2))
    CHECK((everything(evaluation) == alone));
}

// Products of several samples together may differ from each one's in the last digits.
TEST_CASE("evaluation: other batches change no more than the last digits", "[unit]") {
  const auto loss_of = [](int max_samples) {
    const Bench bench({"data.answer=labels", "loss.lm=1", "batch.max_tokens=4096",
                       fmt::format("batch.max_samples={}", max_samples)});
    const auto self = sharding::make_self();
    return bench.run(*self).loss->loss.total;
  };
  const double one = loss_of(1);
  CHECK(loss_of(2) == Approx(one).epsilon(1e-5));
  CHECK(loss_of(4) == Approx(one).epsilon(1e-5));
}

TEST_CASE("evaluation: what fails in the model on one thread ends all of them", "[unit][fault]") {
  const Bench bench({"run.threads_per_rank=3", "batch.max_samples=1"});
  model::Detector detector = build_detector(bench.config, bench.tokenizer, bench.set.class_map());
  detector.set_forward_gate([](std::string_view) { throw DataError("no such weight"); });
  const auto self = sharding::make_self();
  std::optional<EvalBatches> kept;
  CHECK_THROWS_AS(evaluate_all(detector, bench.tokenizer, bench.set, bench.encoder(), bench.config,
                               *self, kept),
                  DataError);
  CHECK(detector.training());  // as it was
}

TEST_CASE("evaluation: the loss on data.val is training's, over all samples", "[unit]") {
  const Bench bench({"data.answer=labels", "loss.lm=1", "batch.max_samples=3"});
  const auto self = sharding::make_self();
  const Evaluation evaluation = bench.run(*self);
  REQUIRE(evaluation.loss);

  // One micro-batch of everything, as a training step would count it.
  const model::Detector detector =
      build_detector(bench.config, bench.tokenizer, bench.set.class_map());
  std::vector<std::int64_t> all(static_cast<std::size_t>(bench.set.size()));
  std::iota(all.begin(), all.end(), 0);
  const MicroBatch batch = bench.encoder().encode(bench.set, all, true);
  const LossTerms terms(bench.config.loss, bench.config.detection.labels);
  const at::Tensor sums =
      terms.sums(detector.loss(batch, head_loss_options(bench.config), /*noise_seed=*/1));
  const LossTerms::Report expected = terms.report(
      {sums.const_data_ptr<double>(), static_cast<std::size_t>(sums.numel())}, batch.denominators);
  CHECK(evaluation.loss->loss.total == Approx(expected.total).epsilon(1e-5));
  for (std::size_t i = 0; i < expected.terms.size(); ++i) {
    INFO(terms.name(static_cast<std::int64_t>(i)));
    CHECK(evaluation.loss->loss.terms[i] == Approx(expected.terms[i]).epsilon(1e-5));
  }
  CHECK(evaluation.loss->perplexity == Approx(std::exp(expected.terms[0])).epsilon(1e-5));
}

TEST_CASE("evaluation: nothing is dropped out of an adapter", "[unit]") {
  const Bench bench({"eval.from=text", "data.answer=labels", "loss.lm=1", "lora.enabled=true",
                     "lora.dropout=0.5", "data.limit=1", "eval.max_answer_tokens=8"});
  const auto self = sharding::make_self();
  CHECK(everything(bench.run(*self)) == everything(bench.run(*self)));
}

TEST_CASE("evaluation: a model that learned one answer by heart writes it, and its boxes count",
          "[unit]") {
  const Bench bench({"eval.from=text", "data.answer=json", "loss.lm=1", "detection.enabled=false",
                     "eval.best_metric=eval.text.AP50", "data.limit=1",
                     "data.train=" + (test::TinyData::instance().folder() / "val.h5").string(),
                     "batch.micro_batches_per_step=1", "batch.max_samples=1",
                     "batch.max_tokens=4096", "schedule.max_steps=120",
                     "eval.max_answer_tokens=400", "groups.visual.lr=0", "groups.merger.lr=0",
                     "checkpoint.every_steps=120"});
  Trainer trainer(bench.config, sharding::make_self());
  trainer.train();
  const auto rows = read_metrics(bench.dir.path() / "metrics.jsonl");
  const auto& row = rows.back();
  INFO(metrics_line({row.begin(), row.end()}));
  CHECK(row.at("eval.text.exact") == 1);
  CHECK(row.at("eval.text.malformed") == 0);
  CHECK(row.at("eval.text.cut") == 0);
  // Whole pixels of the resized picture are as near to the truth as an answer comes.
  CHECK(row.at("eval.text.AP50") == Approx(1));
  CHECK(row.at("eval.perplexity") < 1.2);
}

TEST_CASE("evaluation: the names that are promised before a run are those of its evaluations",
          "[unit]") {
  const std::vector<std::string> base = {"loss.lm=1", "batch.max_tokens=4096",
                                         "eval.max_answer_tokens=4", "data.limit=1"};
  for (const char* setting : {"eval.from=head", "eval.from=text", "eval.from=both",
                              "eval.loss=false", "data.answer=labels"}) {
    INFO(setting);
    std::vector<std::string> set = base;
    set.emplace_back("data.answer=json");
    set.emplace_back(setting);
    const Bench bench(set);
    const auto self = sharding::make_self();
    std::vector<std::string> names;
    for (const auto& [name, value] : evaluation_row(0, bench.run(*self)))
      if (name != "step") names.push_back(name);
    std::vector<std::string> promised = evaluation_metrics(bench.config, {});
    std::ranges::sort(names);
    std::ranges::sort(promised);
    CHECK(promised == names);
  }
}

TEST_CASE("eval.best_metric that no evaluation can have stops the start, naming those that can",
          "[unit]") {
  const auto refusal = [](const std::vector<std::string>& overrides) -> std::string {
    const TempDir dir;
    try {
      const Trainer trainer(test::tiny_config(dir.path(), overrides), sharding::make_self());
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal({}).empty());
  CHECK(refusal({"eval.best_metric=eval.loss"}).empty());
  CHECK(refusal({"detection.enabled=false", "loss.lm=1", "data.answer=json"}).empty());
  CHECK(refusal({"data.val=[]", "eval.best_metric=eval.whatever"}).empty());
  CHECK_THAT(refusal({"eval.best_metric=eval.AP5O"}),
             ContainsSubstring("no evaluation of this config has eval.AP5O (did you mean "
                               "'eval.AP50'?); they have eval.AP, "));
  CHECK_THAT(refusal({"eval.best_metric=eval.other.AP"}), ContainsSubstring("eval.other.AP"));
  CHECK_THAT(refusal({"eval.best_metric=eval.loss", "eval.loss=false"}),
             ContainsSubstring("no evaluation of this config has eval.loss"));
  CHECK_THAT(refusal({"eval.best_metric=eval.text.AP50"}), ContainsSubstring("eval.text.AP50"));
  const std::string val = (test::TinyData::instance().folder() / "val.h5").string();
  const std::string train = (test::TinyData::instance().folder() / "train.h5").string();
  const std::string both =
      "data.val=[{pack: " + val + ", weight: 1}, {pack: " + train + ", weight: 1}]";
  CHECK(refusal({both, "eval.best_metric=eval.val.AP"}).empty());
  CHECK_THAT(refusal({both, "eval.best_metric=eval.vals.AP"}), ContainsSubstring("'eval.val.AP'"));
}

}  // namespace
}  // namespace muster::trainer
