#include "trainer/evaluate/coco_eval.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "support/test_paths.h"
#include "trainer/log_capture.h"

namespace muster::trainer {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

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

// One image of the id `id`, one box that a detection finds.
CocoGroundTruth truth_of(const nlohmann::json& images, const nlohmann::json& annotations,
                         const TempDir& dir) {
  const nlohmann::json file = {{"images", images},
                               {"categories", {{{"id", 3}, {"name", "cat"}}}},
                               {"annotations", annotations}};
  write_text(dir.path() / "truth.json", file.dump());
  return read_ground_truth(dir.path() / "truth.json");
}

std::vector<EvalBox> detections_of(const nlohmann::json& list, const CocoGroundTruth& truth,
                                   const TempDir& dir) {
  write_text(dir.path() / "found.json", list.dump());
  return read_detections(dir.path() / "found.json", truth);
}

nlohmann::json annotation(const nlohmann::json& id, const nlohmann::json& image) {
  return {{"id", id},    {"image_id", image}, {"category_id", 3}, {"bbox", {0, 0, 10, 10}},
          {"area", 100}, {"iscrowd", nullptr}};
}

TEST_CASE("ids of images may be texts", "[unit][fault]") {
  const TempDir dir;
  const nlohmann::json images = {{{"id", "0b"}, {"file_name", "b.jpg"}},
                                 {{"id", 7}, {"file_name", "c.jpg"}},
                                 {{"id", "0a"}, {"file_name", "a.jpg"}}};
  const CocoGroundTruth truth =
      truth_of(images, {annotation(1, "0b"), annotation(2, "0a"), annotation(3, 7)}, dir);
  CHECK(truth.image_ids == std::vector<std::int64_t>{9, 7, 8});  // in the texts' order, after 7
  nlohmann::json found = nlohmann::json::array();
  for (const nlohmann::json& id : {nlohmann::json("0a"), nlohmann::json("0b"), nlohmann::json(7)})
    found.push_back(
        {{"image_id", id}, {"category_id", 3}, {"bbox", {0, 0, 10, 10}}, {"score", 0.5}});
  CHECK(evaluate_coco(truth, detections_of(found, truth, dir)).metrics.at("AP") == Approx(1));
  found[0]["image_id"] = "0c";
  CHECK_THROWS_WITH(detections_of(found, truth, dir),
                    ContainsSubstring("image_id \"0c\" is not among the images"));
}

TEST_CASE("eval reads the detections.json of predict", "[unit][fault]") {
  const TempDir dir;
  const CocoGroundTruth truth =
      truth_of(nlohmann::json::array({{{"id", 5}, {"file_name", "images/a.jpg"}}}),
               nlohmann::json::array({annotation(1, 5)}), dir);
  nlohmann::json found = nlohmann::json::array(
      {{{"image", "/data/val/a.jpg"},
        {"width", 20},
        {"height", 20},
        {"detections",
         {{{"box", {0, 0, 10, 10}}, {"score", 0.5}, {"caption", "cat"}, {"category_id", 99}},
          {{"box", {0, 0, 9, 9}}, {"score", 0.4}, {"caption", "tomcat"}, {"category_id", 3}},
          {{"box", {0, 0, 10, 10}}, {"score", 0.4}, {"caption", "dog"}, {"category_id", -1}}}}}});
  const auto boxes = detections_of(found, truth, dir);
  REQUIRE(boxes.size() == 2);  // the dog is of no category
  CHECK((boxes[0].image_id == 5 && boxes[0].category_id == 3 && boxes[1].category_id == 3));
  CHECK(boxes[0].xywh == std::array{0.0, 0.0, 10.0, 10.0});
  CHECK(evaluate_coco(truth, boxes).metrics.at("AP") == Approx(1));
  found[0]["image"] = "z.jpg";
  CHECK_THROWS_WITH(detections_of(found, truth, dir), ContainsSubstring("z.jpg is not among"));
}

TEST_CASE("detections are written as COCO results and read again", "[unit]") {
  const TempDir dir;
  const std::vector<EvalBox> boxes = {detection(1, {1, 2, 3.5, 4}, 0.25),
                                      detection(2, {0, 0, 1, 1}, 1)};
  write_detections(dir.path() / "out.json", boxes);
  const auto again = read_detections(dir.path() / "out.json");
  REQUIRE(again.size() == 2);
  CHECK((again[0].xywh == boxes[0].xywh && again[0].score == 0.25 && again[1].image_id == 2));
  write_detections(dir.path() / "none.json", {});
  CHECK(read_detections(dir.path() / "none.json").empty());
}

TEST_CASE("annotation ids that pycocotools evaluates otherwise are warned of", "[unit][fault]") {
  const TempDir dir;
  const nlohmann::json image = nlohmann::json::array({{{"id", 5}, {"file_name", "a.jpg"}}});
  const auto said = [&](const nlohmann::json& annotations) {
    const test::LogCapture log;
    truth_of(image, annotations, dir);
    return log.text();
  };
  CHECK(said({annotation(1, 5), annotation(2, 5)}).empty());
  CHECK_THAT(said({annotation(4, 5), annotation(4, 5)}),
             ContainsSubstring("1 annotations have the id of another one: pycocotools evaluates"));
  CHECK_THAT(said(nlohmann::json::array({annotation(0, 5)})),
             ContainsSubstring("id 0: pycocotools counts"));
}

}  // namespace
}  // namespace muster::trainer
