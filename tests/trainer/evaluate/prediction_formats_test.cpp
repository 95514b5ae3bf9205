#include "trainer/evaluate/prediction_formats.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "data/sources/sources.h"
#include "trainer/evaluate/coco_eval.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

using Catch::Matchers::ContainsSubstring;

ImageDetections empty(std::string image, std::int64_t width, std::int64_t height) {
  return {std::move(image), width, height, {}, "", ""};
}

// A picture with a box over the border and a caption that is no class; one of a pack; one more of
// the first one's name.
std::vector<ImageDetections> pictures(const fs::path& folder) {
  fs::create_directories(folder / "a");
  write_text(folder / "a/x.png", "");
  ImageDetections first = empty((folder / "a/x.png").string(), 100, 50);
  first.kept = {{{10, 20, 60, 40}, 0.9f, "cat", 7}, {{-5, 0, 50, 60}, 0.4f, "red \"dog\"", -1}};
  return {first, empty("of a pack", 10, 10), empty("b/x.png", 10, 10)};
}

void write_as(const std::string& format, const fs::path& folder) {
  const data::ClassMap classes({{7, "cat"}, {9, "owl"}});
  const auto writer = prediction_writer(format, folder, classes);
  for (const ImageDetections& image : pictures(folder)) writer->add(image);
  writer->commit();
}

TEST_CASE("predictions as COCO: a file that COCO's readers take", "[unit]") {
  const TempDir dir;
  write_as("coco", dir.path());
  const fs::path file = dir.path() / "detections.coco.json";
  const nlohmann::json coco = nlohmann::json::parse(read_text(file));
  CHECK(coco["images"][0] ==
        nlohmann::json{{"id", 1}, {"file_name", "a/x.png"}, {"width", 100}, {"height", 50}});
  CHECK(coco["images"][1]["file_name"] == "of a pack");
  CHECK(coco["annotations"][0]["bbox"] == nlohmann::json{10, 20, 50, 20});
  CHECK(coco["annotations"][0]["category_id"] == 7);
  CHECK(coco["annotations"][1]["bbox"] == nlohmann::json{0, 0, 50, 50});  // cut
  CHECK(coco["annotations"][1]["category_id"] == 10);
  CHECK(coco["categories"][2] == nlohmann::json{{"id", 10}, {"name", "red \"dog\""}});
  const CocoGroundTruth truth = read_ground_truth(file);
  CHECK((truth.boxes.size() == 2 && truth.image_ids.size() == 3));
}

TEST_CASE("predictions as YOLO labels: every class has a line, every picture a file", "[unit]") {
  const TempDir dir;
  write_as("yolo", dir.path());
  CHECK(read_text(dir.path() / "classes.txt") == "cat\nowl\nred \"dog\"\n");
  CHECK(read_text(dir.path() / "labels/x.txt") ==
        "0 0.350000 0.600000 0.500000 0.400000\n2 0.250000 0.500000 0.500000 1.000000\n");
  CHECK(read_text(dir.path() / "labels/x-2.txt").empty());
}

TEST_CASE("predictions as labelme: a file per picture", "[unit]") {
  const TempDir dir;
  write_as("labelme", dir.path());
  const nlohmann::json file = nlohmann::json::parse(read_text(dir.path() / "x.json"));
  CHECK(file["imagePath"] == "a/x.png");
  CHECK(file["shapes"][0]["points"] == nlohmann::json{{10, 20}, {60, 40}});
  CHECK(file["shapes"][0]["shape_type"] == "rectangle");
  CHECK(file["imageHeight"] == 50);
  CHECK(nlohmann::json::parse(read_text(dir.path() / "x-2.json"))["shapes"].empty());
}

TEST_CASE("predictions as JSON lines are packed again", "[unit]") {
  const TempDir dir;
  const fs::path picture =
      *fs::directory_iterator(test::TinyData::instance().folder() / "train/images");
  const data::ClassMap classes({{7, "cat"}});
  const auto writer = prediction_writer("jsonl", dir.path(), classes);
  ImageDetections found = empty(picture.string(), 84, 84);
  found.kept = {{{10, 20, 60, 40}, 0.9f, "cat", 7}};
  writer->add(found);
  CHECK(!fs::exists(dir.path() / "detections.jsonl"));  // whole, or absent
  writer->commit();
  const auto source = data::read_source(dir.path() / "detections.jsonl", "jsonl", "");
  REQUIRE(source.samples.size() == 1);
  CHECK(fs::equivalent(source.samples.at(0).pictures.at(0).path, picture));
  CHECK(source.samples.at(0).objects.at(0).caption == "cat");
  CHECK(source.samples.at(0).objects.at(0).box == std::array{10.0, 20.0, 60.0, 40.0});
}

TEST_CASE("the muster form needs no second writer", "[unit]") {
  CHECK(prediction_writer("muster", ".", {}) == nullptr);
}

}  // namespace
}  // namespace muster::trainer
