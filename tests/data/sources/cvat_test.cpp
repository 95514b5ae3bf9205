#include <fmt/core.h>

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

constexpr const char* kMeta =
    "<version>1.1</version>\n<meta><task><labels><label><name>dog</name><attributes/></label>"
    "<label><name>cat</name></label><label><name>owl</name></label></labels></task></meta>\n";

std::string annotations(const std::string& images) {
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n{}{}</annotations>\n", kMeta,
      images);
}
std::string image(const std::string& name, const std::string& shapes) {
  return "<image id=\"4\" name=\"" + name + "\" width=\"40\" height=\"30\">\n" + shapes +
         "</image>\n";
}

}  // namespace

TEST_CASE("CVAT: an export as it comes, with its shapes", "[unit]") {
  const SourceFolder folder{"images/a.jpg", "images/sub/b.jpg"};
  folder.text(
      "annotations.xml",
      annotations(
          image(
              "a.jpg",
              "<box label=\"cat\" xtl=\"1\" ytl=\"2\" xbr=\"30\" ybr=\"20.5\" occluded=\"0\" "
              "z_order=\"0\"><attribute name=\"age\">old</attribute></box>"
              "<polygon label=\"dog\" points=\"1.5,2;30,4;9,25\"/>"
              "<mask label=\"dog\" rle=\"1, 2, 3\" left=\"3\" top=\"4\" width=\"5\" height=\"6\"/>"
              "<ellipse label=\"cat\" cx=\"20\" cy=\"15\" rx=\"10\" ry=\"5\" rotation=\"90\"/>"
              "<box label=\"cat\" xtl=\"10\" ytl=\"10\" xbr=\"20\" ybr=\"14\" rotation=\"90\"/>") +
          image("sub/b.jpg", "")));
  for (const char* place : {"", "annotations.xml"}) {
    const Source source = folder.read(place);
    CHECK(source.format == "cvat");
    CHECK(fault_texts(source, folder).empty());
    REQUIRE(source.samples.size() == 2);
    CHECK(objects_text(source.samples.at(0)) ==
          "cat 1,2,30,20.5 | dog 1.5,2,30,25 | dog 3,4,8,10 | cat 15,5,25,25 | cat 13,7,17,17");
    CHECK((source.samples.at(1).name == "sub/b" && source.samples.at(1).objects.empty() &&
           source.samples.at(1).boxed));
    for (const Sample& sample : source.samples) CHECK(validate(sample).empty());
    // Labels that no shape has are numbered as well, so that the parts of a task agree.
    REQUIRE(source.categories.size() == 3);
    CHECK((source.categories[2].name == "owl" && source.samples.at(0).objects[0].category == 1 &&
           source.samples.at(0).objects[1].category == 2));
  }
}

TEST_CASE("CVAT: all faults at once, each with its line", "[fault]") {
  const SourceFolder folder{"a.jpg"};
  folder.text(
      "annotations.xml",
      annotations(image("a.jpg",
                        "<box label=\"cat\" xtl=\"x\" ytl=\"2\" xbr=\"30\" ybr=\"20\"/>\n"
                        "<box xtl=\"1\" ytl=\"2\" xbr=\"30\" ybr=\"20\"/>\n"
                        "<box label=\"cat\" xtl=\"1\" ytl=\"2\" ybr=\"20\"/>\n"
                        "<polygon label=\"cat\" points=\"1,2;3,4\"/>\n"
                        "<polygon label=\"cat\" points=\"1,2;3,4;5,y\"/>\n"
                        "<points label=\"cat\" points=\"1,2\"/>\n"
                        "<box label=\"cat\" xtl=\"1\" ytl=\"2\" xbr=\"30\" ybr=\"20\"/>\n") +
                  "<image id=\"1\" width=\"4\" height=\"3\"/>\n"
                  "<image id=\"2\" name=\"a.jpg\" width=\"wide\" height=\"3\"/>\n"
                  "<track id=\"0\" label=\"cat\"/>\n"));
  const Source source = folder.read();
  const std::string faults = fault_texts(source, folder);
  for (const char* told :
       {"annotations.xml:6: <box> has xtl=\"x\", no number",
        "annotations.xml:7: <box> has no label=", "annotations.xml:8: <box> has no xbr=",
        "annotations.xml:9: <polygon> has 4 numbers",
        "annotations.xml:10: points= holds 'y', no number",
        "annotations.xml:11: <points> has no box", "annotations.xml:14: <image> has no name=",
        "annotations.xml:15: <image> has width=\"wide\", no number",
        "annotations.xml:16: a video's <track>"})
    CHECK_THAT(faults, ContainsSubstring(told));
  REQUIRE(source.samples.size() == 1);
  CHECK(objects_text(source.samples.at(0)) == "cat 1,2,30,20");
  folder.text("annotations.xml", annotations(""));
  CHECK_THROWS_MATCHES(folder.read(), DataError, MessageMatches(ContainsSubstring("no <image>")));
}

}  // namespace muster::data
