#include "trainer/evaluate/operating_points.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "support/test_paths.h"
#include "trainer/evaluate/confusion.h"

namespace muster::trainer {
namespace {

using Catch::Approx;

EvalBox at(std::int64_t category, double x, double score = 0, bool crowd = false) {
  return {.image_id = 1,
          .category_id = category,
          .xywh = {x, 0, 10, 10},
          .score = score,
          .area = 100,
          .crowd = crowd};
}

CocoGroundTruth truth_of(std::vector<EvalBox> boxes) {
  return {{1}, {{1, "a"}, {2, "b"}}, std::move(boxes)};
}

TEST_CASE("operating points: precision and recall of every score, F1 at its best", "[unit]") {
  const CocoGroundTruth truth = truth_of({at(1, 0), at(1, 20), at(1, 40), at(2, 60)});
  const OperatingCurves curves = operating_curves(
      truth, {at(1, 0, 0.9), at(1, 20, 0.8), at(1, 100, 0.7), at(1, 40, 0.6), at(1, 200, 0.1)});
  const OperatingCurve& a = curves.classes.at(0);
  REQUIRE(a.points.size() == 5);
  CHECK(a.truths == 3);
  CHECK(a.points[0] == OperatingPoint{0.9, 1, 1.0 / 3});
  CHECK(a.points[2] == OperatingPoint{0.7, 2.0 / 3, 2.0 / 3});
  CHECK(a.best() == OperatingPoint{0.6, 0.75, 1});
  // Class b has a box and no detection.
  CHECK(curves.classes.at(1).points.empty());
  CHECK(curves.classes.at(1).best().f1() == 0);
  CHECK(curves.all.truths == 4);
  CHECK(curves.all.best() == OperatingPoint{0.6, 0.75, 0.75});
}

TEST_CASE("operating points: equal scores pass together; crowds count neither way", "[unit]") {
  const CocoGroundTruth truth = truth_of({at(1, 0), at(1, 50, 0, true)});
  const OperatingCurves curves =
      operating_curves(truth, {at(1, 0, 0.5), at(1, 100, 0.5), at(1, 50, 0.9), at(9, 0, 0.5)});
  REQUIRE(curves.classes.at(0).points.size() == 1);
  CHECK(curves.classes.at(0).points[0] == OperatingPoint{0.5, 0.5, 1});
  // A caption that is no class's name is wrong for all classes together.
  REQUIRE(curves.all.points.size() == 1);
  CHECK(curves.all.points[0].precision == Approx(1.0 / 3));
}

// tests/trainer/evaluate/make_class_oracle.py wrote what pycocotools says.
TEST_CASE("pycocotools' numbers of each class, and the score behind each of its recalls",
          "[golden]") {
  const nlohmann::json oracle =
      parse_json(read_text(test::source_dir() / "tests/trainer/evaluate/class_oracle.json"));
  for (const auto& [name, classes] : oracle.items()) {
    INFO(name);
    const std::string base = "golden/coco_eval/" + name;
    const CocoGroundTruth truth = read_ground_truth(test::shared(base + ".gt.json"));
    const auto detections = read_detections(test::shared(base + ".dets.json"));
    const CocoMetrics coco = evaluate_coco(truth, detections);
    const OperatingCurves curves = operating_curves(truth, detections);
    REQUIRE(coco.classes.size() == classes.size());
    for (std::size_t k = 0; k < coco.classes.size(); ++k) {
      const nlohmann::json& expected = classes.at(coco.classes[k].name);
      INFO(coco.classes[k].name);
      for (const auto& [metric, value] : expected.at("metrics").items()) {
        INFO(metric);
        CHECK(coco.classes[k].metrics.at(metric) == Approx(value.get<double>()).margin(1e-9));
      }
      const OperatingCurve& curve = curves.classes[k];
      CHECK(curve.truths == expected.at("truths").get<std::int64_t>());
      CHECK(curve.best().f1() == Approx(expected.at("best_f1").get<double>()).margin(1e-9));
      CHECK(curve.best().threshold ==
            Approx(expected.at("best_threshold").get<double>()).margin(1e-9));
    }
  }
}

std::int64_t cell(const Confusion& confusion, std::size_t truth, std::size_t predicted) {
  return confusion.counts.at(truth * confusion.size() + predicted);
}

TEST_CASE("confusion: found, taken for another, missed and made up", "[unit]") {
  const CocoGroundTruth truth = truth_of({at(1, 0), at(1, 20), at(2, 40), at(2, 60)});
  const std::vector<EvalBox> detections = {
      at(1, 0, 0.9),    // found
      at(2, 21, 0.8),   // an a that is called b
      at(2, 100, 0.7),  // of nothing
      at(2, 40, 0.1),   // below the threshold: its b is missed
      at(2, 61, 0.6),   // takes the other b ...
      at(1, 60, 0.5)};  // ... which this one overlaps more, so that the one before is of nothing
  const Confusion confusion = confusion_matrix(truth, detections, 0.5);
  REQUIRE(confusion.names == std::vector<std::string>{"a", "b", "background"});
  CHECK(confusion.counts == std::vector<std::int64_t>{1, 1, 0, 1, 0, 1, 0, 2, 0});
}

TEST_CASE("confusion: a crowd counts neither way, a name of no class has its own column",
          "[unit]") {
  const CocoGroundTruth truth = truth_of({at(1, 0, 0, true), at(1, 50)});
  const Confusion confusion = confusion_matrix(truth, {at(1, 0, 0.9), at(-1, 50, 0.9)}, 0.5);
  REQUIRE(confusion.names == std::vector<std::string>{"a", "b", "no class", "background"});
  CHECK(cell(confusion, 0, 2) == 1);
  std::int64_t all = 0;
  for (const std::int64_t count : confusion.counts) all += count;
  CHECK(all == 1);
}

}  // namespace
}  // namespace muster::trainer
