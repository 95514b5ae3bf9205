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

const std::string kBox = "<xmin>1</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax>";

std::string voc(const std::string& box, const std::string& name = "cell",
                const std::string& filename = "a.jpg",
                const std::string& size = "<size><width>40</width><height>30</height></size>") {
  return "<?xml version=\"1.0\"?>\n<annotation verified='yes'><!-- c --><filename>" + filename +
         "</filename>\n" + size + "\n<object><name>" + name +
         "</name><difficult>1</difficult><bndbox>" + box + "</bndbox></object></annotation>\n";
}

}  // namespace

TEST_CASE("VOC", "[unit]") {
  const SourceFolder folder{"JPEGImages/a.jpg"};
  folder.text("Annotations/a.xml", voc(kBox, "a &lt;b&gt; &#233;"));
  folder.text("ImageSets/Main/train.txt", "a  1\n\n");
  const Source source = folder.read("", "train");
  REQUIRE(source.samples.size() == 1);
  CHECK(source.samples.at(0).objects[0].box == std::array<double, 4>{1, 2, 40, 30});
  CHECK((source.categories[0].name == "a <b> \xc3\xa9" && source.categories[0].id == 1));
  CHECK(validate(source.samples.at(0)).empty());
  folder.text("Annotations/b.xml",
              voc(kBox, "a"));  // of another split: its class counts all the same
  CHECK(folder.read("", "train").samples.at(0).objects[0].category == 2);
  fs::remove(folder.dir.path() / "Annotations/b.xml");
  CHECK_THROWS_MATCHES(folder.read("", "test"), DataError,
                       MessageMatches(ContainsSubstring("test.txt")));
}

TEST_CASE("VOC: all faults of all files, each with its line", "[fault]") {
  const SourceFolder folder{"JPEGImages/a.jpg"};
  folder.text("Annotations/a.xml", voc("<xmin>x</xmin>"));
  folder.text("Annotations/b.xml", voc(""));
  folder.text("Annotations/c.xml", "<annotation>\n<object></annotation>");
  folder.text("Annotations/d.xml", "<other/>");
  folder.text("ImageSets/Main/all.txt", "a\nb\nc\nd\nlost\n");
  const Source source = folder.read("", "all");
  CHECK(source.samples.size() == 2);
  const std::string faults = fault_texts(source, folder);
  for (const char* expected :
       {"Annotations/a.xml:4: <xmin> in line 4 is 'x'",
        "Annotations/b.xml:4: <bndbox> has no <xmin>", "Annotations/c.xml:2: XML",
        "Annotations/d.xml:1: <annotation> expected", "all.txt:5: no such annotation"})
    CHECK_THAT(faults, ContainsSubstring(expected));
  CHECK(source.faults.size() == 5);
}

TEST_CASE("VOC: names in CDATA and in the encoding that the file declares", "[unit]") {
  const SourceFolder folder{"JPEGImages/a.jpg"};
  const auto caption = [&](const std::string& xml) {
    folder.text("Annotations/a.xml", xml);
    return folder.read().samples.at(0).objects.at(0).caption;
  };
  const auto declared = [](const std::string& encoding, const std::string& name) {
    const std::string plain = voc(kBox, name);
    return "<?xml version=\"1.0\" encoding=\"" + encoding + "\"?>" + plain.substr(plain.find('\n'));
  };
  CHECK(caption(voc(kBox, "<![CDATA[red & white]]>")) == "red & white");
  CHECK(caption(declared("ISO-8859-1", "caf\xe9")) == "caf\xc3\xa9");
  CHECK(caption(declared("GB2312", "\xba\xec")) == "\xe7\xba\xa2");
  CHECK(caption(declared("GB18030", "\x81\x30\x89\x38")) == "\xc3\x9f");  // four bytes a character
  CHECK(caption(declared("euc-jp", "\xa4\xa2")) == "\xe3\x81\x82");
  CHECK(caption("\xef\xbb\xbf" + voc(kBox, "bom")) == "bom");
  folder.text("Annotations/a.xml", voc(kBox, "\xba\xec"));  // GBK that nobody declares
  CHECK_THAT(fault_texts(folder.read(), folder),
             ContainsSubstring("Annotations/a.xml:4") && ContainsSubstring("not UTF-8"));
}

TEST_CASE("VOC: sizes that are missing or 0 come from the picture, and are told", "[unit]") {
  const SourceFolder folder{"JPEGImages/a.jpg", "JPEGImages/b.jpg"};
  folder.text("Annotations/a.xml", voc(kBox, "cell", "a.jpg", ""));
  folder.text("Annotations/b.xml",
              voc(kBox, "cell", "b.jpg", "<size><width>0</width><height>0</height></size>"));
  const Source source = folder.read();
  for (const Sample& sample : source.samples)
    CHECK((sample.pictures[0].width == 40 && sample.pictures[0].height == 30));
  CHECK(source.repaired.size() == 2);
  CHECK_THAT(warning_texts(source, folder), ContainsSubstring("2 samples have no size"));
}

TEST_CASE("VOC: pictures without an annotation are told", "[unit]") {
  const SourceFolder folder{"JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.gif"};
  folder.text("Annotations/a.XML", voc(kBox));
  const Source source = folder.read();
  CHECK(validate(source.samples.at(0)).empty());
  CHECK_THAT(warning_texts(source, folder),
             ContainsSubstring("2 pictures lie among those of the source and are not in it, first "
                               "JPEGImages/b.jpg"));
}

TEST_CASE("VOC: pictures with blanks, other suffixes, sub-folders; macOS' leftovers", "[unit]") {
  const SourceFolder folder{"JPEGImages/IMG 001.jpg", "JPEGImages/b.JPEG", "JPEGImages/sub/c.jpg"};
  folder.text("Annotations/IMG 001.xml", voc(kBox, "cell", "IMG 001.jpg"));
  folder.text("Annotations/b.xml", voc(kBox, "cell", "b"));
  folder.text("Annotations/sub/c.xml", voc(kBox, "cell", "c.jpg"));
  folder.text("Annotations/._b.xml", "Mac OS X");
  folder.text("Annotations/.ipynb_checkpoints/b.xml", "x");
  folder.text("__MACOSX/Annotations/b.xml", "x");
  folder.text("ImageSets/Main/train.txt", "IMG 001\r\nsub/c\nb.JPEG\n");
  for (const Source& source : {folder.read(), folder.read("", "train")}) {
    CHECK((source.samples.size() == 3 && source.faults.empty()));
    for (const Sample& sample : source.samples) CHECK(validate(sample).empty());
  }
}

TEST_CASE("VOC: flat folders and folders of splits, as labelImg and Roboflow write them",
          "[unit]") {
  const SourceFolder folder{"train/a_jpg.rf.1.jpg", "valid/b.jpg"};
  folder.text("train/a_jpg.rf.1.xml", voc(kBox, "cell", "a_jpg.rf.1.jpg"));
  folder.text("valid/b.xml", voc(kBox, "cell", "b.jpg"));
  CHECK(folder.read("train").samples.at(0).name == "a_jpg.rf.1");
  CHECK(folder.read("", "train").samples.size() == 1);
  CHECK(folder.read("", "val").samples.at(0).name == "b");
  CHECK_THROWS_MATCHES(
      folder.read(), UsageError,
      MessageMatches(ContainsSubstring("train, valid") && ContainsSubstring("--split")));
  CHECK_THROWS_AS(folder.read("", "test"), UsageError);
}

TEST_CASE("VOC: boxes of polygons and of turned rectangles", "[unit]") {
  const SourceFolder folder{"JPEGImages/a.jpg"};
  const auto box = [&](const std::string& shape) {
    folder.text("Annotations/a.xml",
                "<annotation><filename>a.jpg</filename><object><name>c</name>" + shape +
                    "</object></annotation>");
    return objects_text(folder.read().samples.at(0));
  };
  CHECK(box("<polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>3</y2><x3>5</x3><y3>8</y3></polygon>") ==
        "c 1,2,9,8");
  CHECK(box("<robndbox><cx>10</cx><cy>10</cy><w>8</w><h>4</h><angle>0</angle></robndbox>") ==
        "c 6,8,14,12");
}

}  // namespace muster::data
