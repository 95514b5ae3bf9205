#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "data/ingest/judge.h"
#include "data/sources/source_folder.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::fault_texts;
using test::objects_text;
using test::SourceFolder;

std::string task(const std::string& result,
                 const std::string& image = "/data/upload/1/0a1b2c3d-a.jpg") {
  return R"({"id": 1, "data": {"image": ")" + image + R"("}, "annotations": [{"result": [)" +
         result + "]}]}";
}
std::string region(const std::string& value) {
  return R"({"type": "rectanglelabels", "original_width": 40, "original_height": 30, "value": )" +
         value + "}";
}

}  // namespace

TEST_CASE("Label Studio: tasks with boxes in percents", "[unit]") {
  const SourceFolder folder{"images/0a1b2c3d-a.jpg", "images/b c.jpg"};
  const auto read = [&](const std::string& tasks) {
    folder.text("export.json", "[" + tasks + "]");
    const Source source = folder.read("export.json");
    CHECK(source.format == "label-studio");
    const std::string faults = fault_texts(source, folder);
    return source.samples.empty() ? faults : objects_text(source.samples.at(0)) + faults;
  };
  CHECK(
      read(task(region(
          R"({"x": 25, "y": 50, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]})"))) ==
      "cat 10,15,20,30");
  CHECK(
      read(task(region(
          R"({"x": 50, "y": 0, "width": 15, "height": 20, "rotation": 90, "rectanglelabels": ["cat"]})"))) ==
      "cat 14,0,20,6");
  CHECK(
      read(task(
          R"({"type": "polygonlabels", "value": {"points": [[25, 10], [50, 20], [30, 90]], "polygonlabels": ["dog"]}})")) ==
      "dog 10,3,20,27");
  CHECK(read(task("")).empty());  // annotated: there is nothing
  CHECK_THAT(read(R"({"data": {"image": "b%20c.jpg"}, "annotations": []})"),
             ContainsSubstring("export.json[0]: a task that nobody annotated"));
  CHECK_THAT(
      read(R"({"data": {"image": "b c.jpg"}, "annotations": [{"result": []}, {"result": []}]})"),
      ContainsSubstring("several annotations"));
  CHECK_THAT(read(task(R"({"type": "brushlabels", "value": {"rle": []}})")),
             ContainsSubstring("a result of the type 'brushlabels'"));
  const Source named = [&] {
    folder.text("export.json", "[" + task("", "/data/local-files/?d=set/b%20c.jpg") + "]");
    return folder.read("export.json");
  }();
  CHECK(validate(named.samples.at(0)).empty());
}

TEST_CASE("Label Studio: JSON-MIN", "[unit]") {
  const SourceFolder folder{"a.jpg"};
  folder.text(
      "min.json",
      R"([{"image": "/data/upload/1/0a1b2c3d-a.jpg", "id": 3, "annotator": 1, "annotation_id": 2,
    "label": [{"x": 25, "y": 50, "width": 25, "height": 50, "rectanglelabels": ["cat"],
               "original_width": 40, "original_height": 30}]}])");
  const Source source = folder.read("min.json");
  CHECK(source.format == "label-studio");
  CHECK(objects_text(source.samples.at(0)) == "cat 10,15,20,30");
  CHECK(validate(source.samples.at(0)).empty());  // found without the upload's prefix
}

}  // namespace muster::data
