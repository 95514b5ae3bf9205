#include "trainer/evaluate/predictions.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/tensors/process_memory.h"
#include "data/images/codec.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/model_folder.h"
#include "trainer/show/evaluation_record.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("a histogram's quantiles are those of the scores, to 5 %", "[unit]") {
  ScoreHistogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.add(i * 1e-4);  // 0.0001 to 0.1
  CHECK(histogram.count() == 1000);
  CHECK(histogram.best() == 0.1);
  for (const double share : {0.01, 0.1, 0.5, 0.9}) {
    const double exact = (1 - share) * 0.1;
    CHECK(histogram.reached_by(share) < exact * 1.01);
    CHECK(histogram.reached_by(share) > exact * 0.94);
  }
  ScoreHistogram twice = histogram;
  twice.add(histogram);
  CHECK(twice.count() == 2000);
  CHECK(twice.best() == 0.1);
  CHECK(twice.reached_by(0.5) == histogram.reached_by(0.5));
  histogram.add(0);
  histogram.add(1);
  CHECK(histogram.best() == 1);
  CHECK(histogram.reached_by(1) <= 1e-8);
}

TEST_CASE("what to say when nothing passes: the scores, and thresholds that would keep some",
          "[unit]") {
  ScoreHistogram histogram;
  CHECK_THAT(explain_scores(histogram, 0.3), ContainsSubstring("no query"));
  for (int i = 1; i <= 100; ++i) histogram.add(i * 1e-3);
  CHECK_THAT(explain_scores(histogram, 0.3),
             ContainsSubstring("best 0.1") && ContainsSubstring("--threshold 0.09"));
}

TEST_CASE("detections.json is whole after commit and absent without", "[unit][fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "detections.json";
  const ImageDetections one{"a.jpg", 20, 10, {{{1, 2, 3, 4}, 0.5f, "cat \xff", 7}}, "a.png", ""};
  {
    DetectionsFile out(file);
    out.add(one);
  }
  CHECK(fs::is_empty(dir.path()));
  {
    DetectionsFile out(file);
    out.add(one);
    out.add({"b.jpg", 5, 5, {}, "", "which?"});
    out.commit();
  }
  const nlohmann::json listed = nlohmann::json::parse(read_text(file));
  REQUIRE(listed.size() == 2);
  CHECK(listed[0]["detections"][0]["box"] == std::vector<float>{1, 2, 3, 4});
  CHECK(listed[0]["detections"][0]["category_id"] == 7);
  CHECK(listed[0]["overlay"] == "a.png");
  CHECK_FALSE(listed[0].contains("prompt"));
  CHECK(listed[1]["prompt"] == "which?");
  CHECK(listed[1]["detections"].empty());
  DetectionsFile empty(file);
  empty.commit();
  CHECK(nlohmann::json::parse(read_text(file)).empty());
}

struct TinyPredictor {
  TempDir dir;
  configs::Config config = test::tiny_config(dir.path());
  data::Tokenizer tokenizer{config.tokens.tokenizer};
  data::SampleSet set = data::open_set(configs::pack_files(config.data.val));
  data::SampleEncoder encoder{tokenizer,
                              encode_options(config, model::read_config(find_model(config.model)))};
  model::Detector detector = build_detector(config, tokenizer, set.class_map());
  TinyPredictor() { detector.set_training(false); }
  Predictor predictor() const { return {detector, tokenizer, set.class_map(), encoder}; }
  Shown shown(std::int64_t i) const { return shown_sample(set, i); }
};

TEST_CASE("pictures in one batch have the detections each has alone", "[unit]") {
  const TinyPredictor tiny;
  const std::vector<Shown> all{tiny.shown(0), tiny.shown(1), tiny.shown(2)};
  ScoreHistogram together, apart;
  const std::vector<ImageDetections> batched = tiny.predictor().predict(all, {}, together);
  REQUIRE(batched.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const ImageDetections alone = tiny.predictor().predict({&all[i], 1}, {}, apart).front();
    CHECK(alone.image == batched[i].image);
    REQUIRE(alone.kept.size() == batched[i].kept.size());
    for (std::size_t d = 0; d < alone.kept.size(); ++d)
      CHECK(std::abs(alone.kept[d].score - batched[i].kept[d].score) < 1e-4f);
  }
  CHECK(together.count() == apart.count());
}

TEST_CASE("predictions on several threads are those of one, bit by bit", "[unit]") {
  struct Part {
    std::string bytes;
    ScoreHistogram scores;
  };
  const TinyPredictor tiny;
  const Predictor predictor = tiny.predictor();
  const auto predicted = [&](int threads) {
    Passes passes({.model = threads, .beside = 1}, predictor.device());
    Part all;
    passes.run(
        8,
        [&](std::int64_t i) {
          const std::vector<Shown> samples{tiny.shown(i % 4), tiny.shown((i + 1) % 4)};
          Part part;
          part.bytes = detections_to_bytes(predictor.predict(samples, {}, part.scores, passes));
          return part;
        },
        [&](std::int64_t, const Part& part) {
          all.bytes += part.bytes;
          all.scores.add(part.scores);
        });
    return all;
  };
  const Part one = predicted(1);
  CHECK(one.scores.count() > 0);
  for (const int threads : {2, 3}) {
    INFO(threads);
    const Part several = predicted(threads);
    CHECK((several.bytes == one.bytes));
    CHECK(several.scores.count() == one.scores.count());
    CHECK(several.scores.reached_by(0.1) == one.scores.reached_by(0.1));
  }
}

TEST_CASE("memory does not grow with the number of pictures", "[unit]") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  SKIP("a sanitizer keeps freed memory");
#endif
  const TinyPredictor tiny;
  const Predictor predictor = tiny.predictor();
  DetectionsFile file(tiny.dir.path() / "detections.json");
  LabelFont font;
  ScoreHistogram scores;
  const auto predict_many = [&](int batches) {
    for (int i = 0; i < batches; ++i) {
      const std::vector<Shown> pictures{tiny.shown(i % 4), tiny.shown((i + 1) % 4)};
      const auto found = predictor.predict(pictures, {}, scores);
      draw(pictures[0].pictures[0], found[0], tiny.dir.path() / "a.png", font);
      for (const ImageDetections& image : found) file.add(image);
    }
  };
  predict_many(20);  // caches and pools fill
  const std::int64_t before = resident_bytes();
  predict_many(60);
  CHECK(resident_bytes() - before < 16 << 20);  // leaking the pixels of 60 batches would take 20 MB
  CHECK(scores.count() > 160);
}

TEST_CASE("the best thresholds are those of the checkpoint's evaluation, overall or by class",
          "[unit]") {
  const TempDir dir;
  const data::ClassMap classes({{.id = 3, .name = "cell"}, {.id = 8, .name = "dish"}});
  CHECK_THROWS_AS(best_thresholds(dir.path(), classes, false), CheckpointError);
  EvaluationRecord record{.step = 5};
  record.all.best = {.threshold = 0.4, .precision = 0.5, .recall = 0.5};
  for (const auto& [name, threshold, right] :
       {std::tuple("cell", 0.2, 0.9), std::tuple("dish", 1.0, 0.0), std::tuple("gone", 0.1, 1.0)}) {
    ClassRecord& one = record.classes.emplace_back();
    one.curve.name = name;
    one.best = {.threshold = threshold, .precision = right, .recall = right};
  }
  write_text(dir.path() / "evaluation.json", evaluation_to_json(record));
  const Thresholds all = best_thresholds(dir.path(), classes, false);
  CHECK(all.of(3) == 0.4);
  const Thresholds each = best_thresholds(dir.path(), classes, true);
  CHECK(each.of(3) == 0.2);
  CHECK(each.of(8) == 0.4);   // nothing of it was found: the one over all classes serves
  CHECK(each.of(-1) == 0.4);  // a caption that is no class
  // Where nothing was found there is no best one, and that is said with what would help.
  record.all.best = {.threshold = 1};
  write_text(dir.path() / "evaluation.json", evaluation_to_json(record));
  CHECK_THROWS_WITH(best_thresholds(dir.path(), classes, false), ContainsSubstring("--record"));
}

}  // namespace
}  // namespace muster::trainer
