#include "trainer/evaluate/coco_eval.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "support/test_paths.h"

namespace muster::trainer {
namespace {

using Catch::Approx;

EvalBox truth_box(std::int64_t image, std::array<double, 4> xywh, bool crowd = false) {
  return {
      .image_id = image, .category_id = 1, .xywh = xywh, .area = xywh[2] * xywh[3], .crowd = crowd};
}

EvalBox detection(std::int64_t image, std::array<double, 4> xywh, double score) {
  return {.image_id = image, .category_id = 1, .xywh = xywh, .score = score};
}

CocoGroundTruth one_class(std::vector<EvalBox> boxes) {
  return {{1, 2}, {{1, "cell"}}, std::move(boxes)};
}

TEST_CASE("pycocotools' numbers", "[golden]") {
  for (const char* name : {"case0", "case1", "case2", "case3"}) {
    INFO(name);
    const std::string base = std::string("golden/coco_eval/") + name;
    const CocoGroundTruth truth = read_ground_truth(test::shared(base + ".gt.json"));
    const CocoMetrics got =
        evaluate_coco(truth, read_detections(test::shared(base + ".dets.json")));
    const nlohmann::json expected =
        nlohmann::json::parse(std::ifstream(test::shared(base + ".expected.json")));
    for (const auto& [metric, value] : expected.at("metrics").items()) {
      INFO(metric);
      CHECK(got.metrics.at(metric) == Approx(value.get<double>()).margin(1e-6));
    }
    for (const auto& [category, value] : expected.at("AP_per_category").items()) {
      INFO(category);
      CHECK(got.ap_per_category.at(category) == Approx(value.get<double>()).margin(1e-6));
    }
  }
}

TEST_CASE("perfect detections score 1, also by size", "[unit]") {
  const CocoGroundTruth truth =
      one_class({truth_box(1, {10, 10, 20, 20}), truth_box(2, {50, 50, 60, 60})});
  const CocoMetrics got = evaluate_coco(
      truth, {detection(1, {10, 10, 20, 20}, 0.3), detection(2, {50, 50, 60, 60}, 0.9)});
  for (const char* metric : {"AP", "AP50", "AP75", "APs", "APm", "AR1", "AR100"})
    CHECK(got.metrics.at(metric) == Approx(1));
  CHECK(got.metrics.at("APl") == -1);  // nothing large to measure
  CHECK(got.ap_per_category.at("cell") == Approx(1));
}

TEST_CASE("no ground truth measures nothing, no detection scores nothing", "[unit]") {
  const CocoMetrics empty = evaluate_coco(one_class({}), {detection(1, {0, 0, 9, 9}, 0.5)});
  CHECK(empty.metrics.at("AP") == -1);
  CHECK(empty.metrics.at("AR100") == -1);
  const CocoMetrics missed = evaluate_coco(one_class({truth_box(1, {0, 0, 9, 9})}), {});
  CHECK(missed.metrics.at("AP") == 0);
  CHECK(missed.metrics.at("AR100") == 0);
}

TEST_CASE("a false detection before a true one halves precision, after it costs nothing",
          "[unit]") {
  const CocoGroundTruth truth = one_class({truth_box(1, {0, 0, 10, 10})});
  const EvalBox hit = detection(1, {0, 0, 10, 10}, 0.5);
  CHECK(evaluate_coco(truth, {hit, detection(2, {0, 0, 10, 10}, 0.9)}).metrics.at("AP50") ==
        Approx(0.5));
  CHECK(evaluate_coco(truth, {hit, detection(2, {0, 0, 10, 10}, 0.1)}).metrics.at("AP50") ==
        Approx(1));
}

TEST_CASE("a second detection of one object is false, of a crowd ignored", "[unit]") {
  const std::array<double, 4> place{0, 0, 10, 10}, inside{100, 100, 5, 5}, region{90, 90, 50, 50};
  const std::vector<EvalBox> twice{detection(1, place, 0.5), detection(1, place, 0.9)};
  CHECK(evaluate_coco(one_class({truth_box(1, place), truth_box(2, place)}), twice)
            .metrics.at("AP50") < 0.6);
  const CocoGroundTruth crowd = one_class({truth_box(1, place), truth_box(1, region, true)});
  const CocoMetrics got = evaluate_coco(
      crowd, {detection(1, inside, 0.9), detection(1, inside, 0.8), detection(1, place, 0.5)});
  CHECK(got.metrics.at("AP50") == Approx(1));  // area inside the crowd counts, not the union
}

TEST_CASE("only the 100 best of an image count", "[unit]") {
  std::vector<EvalBox> detections(100, detection(1, {500, 500, 10, 10}, 0.9));
  detections.push_back(detection(1, {0, 0, 10, 10}, 0.1));
  const CocoGroundTruth truth = one_class({truth_box(1, {0, 0, 10, 10})});
  CHECK(evaluate_coco(truth, detections).metrics.at("AR100") == 0);
  detections.front().score = 0;
  CHECK(evaluate_coco(truth, detections).metrics.at("AR100") == Approx(1));
}

// pycocotools marks "unmatched" with id 0 and so loses an annotation whose id is 0. We keep no ids
// and must not.
TEST_CASE("an annotation with id 0 counts", "[unit]") {
  const TempDir dir;
  write_text(dir.path() / "gt.json",
             R"({"images": [{"id": 0}], "categories": [{"id": 0, "name": "a"}],
    "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [1, 1, 8, 8], "area": 64}]})");
  write_text(dir.path() / "dt.json",
             R"([{"image_id": 0, "category_id": 0, "bbox": [1, 1, 8, 8], "score": 0.5}])");
  const CocoMetrics got = evaluate_coco(read_ground_truth(dir.path() / "gt.json"),
                                        read_detections(dir.path() / "dt.json"));
  CHECK(got.metrics.at("AP") == Approx(1));
}

TEST_CASE("files and detections that do not fit are refused", "[unit]") {
  const TempDir dir;
  write_text(dir.path() / "dt.json", R"([{"image_id": 0, "bbox": [1, 1, 8, 8], "score": 0.5}])");
  CHECK_THROWS_AS(read_detections(dir.path() / "dt.json"), DataError);
  CHECK_THROWS_AS(read_ground_truth(dir.path() / "dt.json"), DataError);
  CHECK_THROWS_AS(evaluate_coco(one_class({}), {detection(3, {0, 0, 1, 1}, 1)}), DataError);
}

}  // namespace
}  // namespace muster::trainer
