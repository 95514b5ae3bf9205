#include "trainer/evaluate/confusion.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "support/test_paths.h"

namespace muster::trainer {
namespace {

using Counts = std::vector<std::int64_t>;

EvalBox box_at(std::int64_t category, double x, double y, double width, double height,
               double score = 0) {
  return {.image_id = 1, .category_id = category, .xywh = {x, y, width, height}, .score = score};
}

CocoGroundTruth two_classes(std::vector<EvalBox> boxes) {
  return {{1}, {{1, "a"}, {2, "b"}}, std::move(boxes)};
}

EvalBox oracle_box(const nlohmann::json& box) {
  return {.image_id = box.at("image"),
          .category_id = box.at("category"),
          .xywh = box.at("box"),
          .score = box.value("score", 0.0),
          .crowd = box.value("crowd", false)};
}

// tests/trainer/evaluate/make_confusion_oracle.py wrote what a slow plain reading of the rule says.
TEST_CASE("confusion: random boxes, as the slow reference counts them", "[golden]") {
  const nlohmann::json oracle =
      parse_json(read_text(test::source_dir() / "tests/trainer/evaluate/confusion_oracle.json"));
  std::int64_t boxes = 0;
  for (const nlohmann::json& one : oracle.at("cases")) {
    CocoGroundTruth truth;
    for (const std::int64_t category : one.at("classes"))
      truth.categories[category] = std::to_string(category);
    for (const nlohmann::json& box : one.at("truths")) truth.boxes.push_back(oracle_box(box));
    std::vector<EvalBox> detections;
    for (const nlohmann::json& box : one.at("detections")) detections.push_back(oracle_box(box));
    const double threshold = one.at("threshold");
    const Confusion confusion = confusion_matrix(truth, detections, threshold);
    Counts expected;
    for (const nlohmann::json& row : one.at("counts"))
      for (const std::int64_t count : row) expected.push_back(count);
    CHECK(confusion.counts == expected);
    CHECK(confusion.size() * confusion.size() == expected.size());
    boxes += static_cast<std::int64_t>(detections.size());
  }
  CHECK(boxes > 300);
}

TEST_CASE("confusion: half an overlap and the threshold itself are enough, less is not", "[unit]") {
  const CocoGroundTruth truth = two_classes({box_at(1, 0, 0, 10, 10)});
  const auto counts = [&](const EvalBox& detection) {
    return confusion_matrix(truth, {detection}, 0.5).counts;
  };
  const Counts found{1, 0, 0, 0, 0, 0, 0, 0, 0};
  const Counts missed_and_made_up{0, 0, 1, 0, 0, 0, 1, 0, 0};
  const Counts missed{0, 0, 1, 0, 0, 0, 0, 0, 0};
  CHECK(counts(box_at(1, 0, 0, 10, 5, 0.5)) == found);
  CHECK(counts(box_at(1, 0, 0, 10, 4.99, 0.5)) == missed_and_made_up);
  CHECK(counts(box_at(1, 0, 0, 10, 10, 0.49)) == missed);
}

// Ultralytics' rule leaves the second detection without a truth, and the second truth missed.
TEST_CASE("confusion: a detection that loses its best truth takes the next best", "[unit]") {
  const CocoGroundTruth truth = two_classes({box_at(1, 0, 0, 10, 10), box_at(2, 2, 0, 10, 10)});
  const std::vector<EvalBox> detections = {box_at(1, 0, 0, 10, 10, 0.9),
                                           box_at(2, 0.9, 0, 10, 10, 0.9)};
  CHECK(confusion_matrix(truth, detections, 0.5).counts == Counts{1, 0, 0, 0, 1, 0, 0, 0, 0});
}

TEST_CASE("confusion: the background has nothing in common with itself", "[unit]") {
  const Confusion nothing = confusion_matrix(two_classes({}), {}, 0.5);
  CHECK(nothing.counts == Counts(9, 0));
  const Confusion made_up = confusion_matrix(two_classes({}), {box_at(2, 0, 0, 5, 5, 0.9)}, 0.5);
  CHECK(made_up.counts == Counts{0, 0, 0, 0, 0, 0, 0, 1, 0});
}

}  // namespace
}  // namespace muster::trainer
