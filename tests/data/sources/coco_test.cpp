#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "data/ingest/judge.h"
#include "data/sources/source_folder.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using test::fault_texts;
using test::objects_text;
using test::SourceFolder;
using test::warning_texts;

std::string coco(
    const std::string& annotations,
    const std::string& image = R"({"id": 5, "file_name": "a.jpg", "width": 40, "height": 30})") {
  return R"({"categories": [{"id": 9, "name": "dog"}], "images": [)" + image +
         R"(], "annotations": [)" + annotations + "]}";
}

}  // namespace

TEST_CASE("COCO", "[unit]") {
  const SourceFolder folder{"images/a.jpg"};
  folder.text(
      "x.json",
      coco(
          R"({"image_id": 5, "category_id": 9, "bbox": [1.5, 2, 38.51, 10], "iscrowd": 1, "area": 7, "segmentation": [[1, 2]]},
             {"image_id": 5, "category_id": 9, "bbox": [0, 0, 2, 2], "caption": "a small dog"})"));
  const Source source = folder.read("x.json");
  const Sample& sample = source.samples.at(0);
  CHECK((sample.source_id == 5 && sample.name == "a"));
  CHECK(sample.objects.at(0).box == std::array<double, 4>{1.5, 2, 40, 12});  // 40.01 is rounding
  CHECK((sample.objects[0].crowd && sample.objects[0].area == 7 &&
         sample.objects[0].caption == "dog"));
  CHECK((!sample.objects.at(1).crowd && sample.objects[1].area == 4 &&
         sample.objects[1].caption == "a small dog"));
  CHECK(validate(sample).empty());
  CHECK_THROWS_AS(folder.read("x.json", "val"), UsageError);
}

TEST_CASE("COCO: all faults at once, each with its array and index", "[fault]") {
  const SourceFolder folder{"a.jpg"};
  folder.text(
      "x.json",
      coco(R"({"image_id": 6, "category_id": 9, "bbox": [0,0,1,1]},
    {"image_id": 5, "category_id": 8, "bbox": [0,0,1,1]}, {"image_id": 5, "category_id": 9, "bbox": [0,0,1]},
    {"image_id": 5, "category_id": 9}, {"category_id": 9, "bbox": [0,0,1,1]}, 7,
    {"image_id": 5, "category_id": 9, "bbox": [0,"x",1,1]}, {"image_id": 5, "category_id": 9, "bbox": [0,0,1,1]})",
           R"({"id": 5, "file_name": "a.jpg"}, {"id": 5, "file_name": "b.jpg"}, {"id": 7})"));
  const Source source = folder.read("x.json");
  const std::string faults = fault_texts(source, folder);
  for (const char* expected :
       {"annotations[0]: image_id 6 is not", "annotations[1]: category_id 8 is not",
        "annotations[2]: bbox has 3 numbers", "annotations[3]: no bbox",
        "annotations[4]: no 'image_id'", "annotations[5]: no JSON object",
        "annotations[6]: 'bbox' holds \"x\"", "images[1]: image id 5 is used twice",
        "images[2]: no 'file_name'"})
    CHECK_THAT(faults, ContainsSubstring(std::string("x.json: ") + expected));
  CHECK((source.faults.size() == 9 && source.samples.size() == 1));
  CHECK(objects_text(source.samples.at(0)) == "dog 0,0,1,1");
  for (const char* broken : {"{", "[]", "{}", R"({"images": [], "annotations": []})"}) {
    folder.text("y.json", broken);
    CHECK_THROWS_MATCHES(read_source(folder.dir.path() / "y.json", "coco", ""), DataError,
                         MessageMatches(ContainsSubstring("y.json")));
  }
}

TEST_CASE("COCO: exporters' loose types", "[unit]") {
  const SourceFolder folder{"a.jpg"};
  folder.text("x.json", R"({"annotations": [
      {"image_id": "0001_d", "category_id": "3", "bbox": ["1", 2, 3.0, "4"], "iscrowd": null, "area": null},
      {"image_id": "0001_d", "category_id": 3.0, "bbox": [1, 2, 3, 4], "iscrowd": false}],
    "images": [{"id": "0001_d", "file_name": "a.jpg", "width": 40.0, "height": "30"}],
    "categories": [{"id": 3, "name": 7, "supercategory": null}]})");
  const Source source = folder.read("x.json");
  CHECK(fault_texts(source, folder).empty());
  CHECK(objects_text(source.samples.at(0)) == "7 1,2,4,6 | 7 1,2,4,6");
  CHECK((source.samples.at(0).source_id == 0 && source.samples.at(0).objects[0].category == 3));
  CHECK(source.samples.at(0).objects[0].area == 12);
  CHECK(validate(source.samples.at(0)).empty());
}

TEST_CASE("COCO: a mask or a polygon gives the box that is missing", "[unit]") {
  const SourceFolder folder{"a.jpg"};
  const auto box = [&](const std::string& segmentation) {
    folder.text("x.json", coco(R"({"image_id": 5, "category_id": 9, "bbox": [], "segmentation": )" +
                               segmentation + "}"));
    const Source source = folder.read("x.json");
    return objects_text(source.samples.at(0)) + fault_texts(source, folder);
  };
  CHECK(box("[[1, 2, 9, 3, 5, 8], [20, 1, 22, 4, 21, 9]]") == "dog 1,1,22,9");
  CHECK(box("[1, 2, 9, 3, 5, 8]") == "dog 1,2,9,8");
  CHECK(box(R"({"size": [4, 5], "counts": [5, 2, 2, 2, 9]})") == "dog 1,1,3,3");
  CHECK(box(R"({"size": [4, 5], "counts": "52207"})") == "dog 1,1,3,3");
  for (const char* bad : {"[]", "[[1, 2]]", R"({"size": [4, 5], "counts": [20]})",
                          R"({"size": [4], "counts": "5"})", R"("x")"})
    CHECK_THAT(box(bad), ContainsSubstring("annotations[0]"));
}

TEST_CASE("COCO: pictures by Windows' paths, by URL, by name, below --images", "[unit]") {
  const SourceFolder folder{"set/images/a.jpg", "elsewhere/deep/b.jpg"};
  const auto picture = [&](const std::string& name, const fs::path& images = {}) {
    folder.text("set/x.json", coco("", R"({"id": 5, "width": 40, "height": 30, )" + name + "}"));
    ReadOptions options;
    if (!images.empty()) options.images = folder.dir.path() / images;
    return test::shortened(
        folder.read("set/x.json", options).samples.at(0).pictures.at(0).path.string(), folder);
  };
  CHECK(picture(R"("file_name": "images\\a.jpg")") == "set/images/a.jpg");
  CHECK(picture(R"("file_name": "C:\\data\\images\\a.jpg")") == "set/images/a.jpg");
  CHECK(picture(R"("file_name": "train/A.JPG")") == "set/images/a.jpg");
  CHECK(picture(R"("coco_url": "http://images.cocodataset.org/val2017/a.jpg")") ==
        "set/images/a.jpg");
  CHECK(picture(R"("file_name": "deep/b.jpg")", "elsewhere") == "elsewhere/deep/b.jpg");
  CHECK(picture(R"("file_name": "b.jpg")", "elsewhere") == "elsewhere/deep/b.jpg");
  CHECK(picture(R"("file_name": "b.jpg")") == "set/b.jpg");  // validate() says it is missing
}

TEST_CASE("COCO: layouts and splits of Roboflow, CVAT and the published set", "[unit]") {
  const SourceFolder roboflow{"train/a.jpg", "valid/b.jpg"};
  roboflow.text("train/_annotations.coco.json", coco(""));
  roboflow.text("valid/_annotations.coco.json",
                coco("", R"({"id": 1, "file_name": "b.jpg", "width": 40, "height": 30})"));
  CHECK(roboflow.read("", "train").samples.at(0).name == "a");
  CHECK(roboflow.read("", "val").samples.at(0).name == "b");
  CHECK_THROWS_MATCHES(roboflow.read(), UsageError,
                       MessageMatches(ContainsSubstring("train, valid")));

  const SourceFolder cvat{"images/default/a.jpg"};
  cvat.text("annotations/instances_default.json", coco(""));
  CHECK(validate(cvat.read().samples.at(0)).empty());

  const SourceFolder published{"train2017/a.jpg", "val2017/a.jpg"};
  published.text("annotations/instances_train2017.json", coco(""));
  published.text("annotations/instances_val2017.json", coco(""));
  published.text("annotations/captions_val2017.json", "{}");
  const Source val = published.read("", "val");
  CHECK(test::shortened(val.samples.at(0).pictures[0].path.string(), published) == "val2017/a.jpg");
  CHECK_THROWS_MATCHES(published.read(), UsageError,
                       MessageMatches(ContainsSubstring("train, val")));
}

}  // namespace muster::data
