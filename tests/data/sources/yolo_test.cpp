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

constexpr const char* kLabel = "0 0.5 0.5 0.5 0.5\n";  // of 40x30: 10,7.5,30,22.5

std::string names_of_samples(const Source& source) {
  std::vector<std::string> names;
  for (const Sample& sample : source.samples)
    names.push_back(sample.name + (sample.objects.empty() ? "-" : "+"));
  return join(names, " ");
}

}  // namespace

TEST_CASE("YOLO, with the three forms of names", "[unit]") {
  for (const char* names :
       {"path: x\nnames: ['cat', \"big, dog\"]\n", "names:\n  0: cat\n  1: big, dog\nnc: 2\n",
        "names:\n- cat\n- big, dog\nnc: 2\n"}) {
    const SourceFolder folder{"images/train/a.jpg", "images/train/sub/b.jpg", "images/val/c.jpg"};
    folder.text("data.yaml", names);
    folder.text("labels/train/a.txt", "1 0.5 0.5 1.000001 0.5\n");
    const Source source = folder.read("", "train");
    REQUIRE(source.samples.size() == 2);
    CHECK(source.samples.at(0).objects.at(0).box == std::array<double, 4>{0, 7.5, 40, 22.5});
    CHECK(source.samples.at(0).objects[0].caption == "big, dog");
    CHECK(source.samples.at(1).objects.empty());
    CHECK(validate(source.samples.at(0)).empty());
    CHECK(folder.read().samples.size() == 3);
    folder.text("labels/train/a.txt", "0 0.5 0.5 1.5 0.5");
    CHECK_THAT(join(validate(folder.read("", "train").samples.at(0)), "\n"),
               ContainsSubstring("outside"));
  }
}

TEST_CASE("YOLO: all faults of all label files, each with its line", "[fault]") {
  const SourceFolder folder{"images/a.jpg", "images/b.jpg"};
  folder.text("data.yaml", "names: [cat]\n");
  folder.text("labels/a.txt",
              "0 0.5 0.5 0.1 0.1\n0 0.5 0.5 1\n1 0.5 0.5 0.1 0.1\n\n0 0.5 x 0.1 0.1\n"
              "nan 0.5 0.5 0.1 0.1\n0 1 1 2 2 3 3 4");
  folder.text("labels/b.txt", "0.5 0.5 0.5 0.1 0.1\n");
  const Source source = folder.read();
  const std::string faults = fault_texts(source, folder);
  for (const char* expected :
       {"a.txt:2: 4 numbers", "a.txt:3: class 1 is not", "a.txt:5: 'x' is no", "a.txt:6: class nan",
        "a.txt:7: 8 numbers", "b.txt:1: class 0.5"})
    CHECK_THAT(faults, ContainsSubstring(expected));
  CHECK((source.faults.size() == 6 && source.samples.size() == 2));
}

TEST_CASE("YOLO: confidences, polygons, turned boxes, poses", "[unit]") {
  const SourceFolder folder{"images/a.jpg"};
  folder.text("data.yaml", "names: [cat]\nkpt_shape: [2, 3]\n");
  const auto read = [&](const char* line) {
    folder.text("labels/a.txt", line);
    const Source source = folder.read();
    return objects_text(source.samples.at(0)) + fault_texts(source, folder);
  };
  CHECK(read("0 0.5 0.5 0.5 0.5 0.93") == "cat 10,7.5,30,22.5");
  CHECK(read("0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4") == "cat 4,3,16,12");
  CHECK(read("0 0.5 0.1 0.9 0.5 0.1 0.5") == "cat 4,3,36,15");
  CHECK(read("0 0.5 0.5 0.5 0.5 0.1 0.2 2 0.3 0.4 1") == "cat 10,7.5,30,22.5");
  CHECK(read("0\t0.5\t0.5\t0.5\t0.5\r\n") == "cat 10,7.5,30,22.5");
}

TEST_CASE("YOLO: classes.txt has one name a line, in quotes or not", "[unit]") {
  const SourceFolder folder{"images/a.jpg"};
  fs::create_directories(folder.dir.path() / "labels");
  const auto names = [&](const std::string& list) {
    folder.text("classes.txt", list);
    std::vector<std::string> all;
    for (const Category& category : folder.read().categories) all.push_back(category.name);
    return join(all, "|");
  };
  CHECK(names("cat\n\"big, dog\"\n\n 'owl' \n") == "cat|big, dog|owl");
  CHECK(names("\xef\xbb\xbf"
              "cat\r\ndog\r\n") == "cat|dog");
  CHECK(names(std::string("\xff\xfe"
                          "c\0a\0t\0\r\0\n\0d\0",
                          14)) == "cat|d");
}

TEST_CASE("YOLO: names as YAML has them", "[unit]") {
  const SourceFolder folder{"images/a.jpg"};
  fs::create_directories(folder.dir.path() / "labels");
  const auto names = [&](const char* yaml) {
    folder.text("data.yaml", yaml);
    std::vector<std::string> all;
    for (const Category& category : folder.read().categories)
      all.push_back(std::to_string(category.id) + "=" + category.name);
    return join(all, " | ");
  };
  CHECK(names("names:\n  - person  # people\n  - \"a # b\"\n") == "0=person | 1=a # b");
  CHECK(names("names:  # class names\n  0: person\n  2: 'it''s'\n") == "0=person | 2=it's");
  CHECK(names("names: [a, 'b, c',\n  7, yes]  # flow\n") == "0=a | 1=b, c | 2=7 | 3=yes");
  CHECK(names("names: {0: a, 1: \"b\\u00e9\"}\n") == "0=a | 1=b\xc3\xa9");
  CHECK(names("anchors: &a [[1, 2]]\nmore: *a\nnames:\n- a\ndownload: |\n  print('x: y')\n") ==
        "0=a");
  CHECK(names("\xef\xbb\xbfnames:\r\n- a\r\n") == "0=a");
  const auto refused = [&](const char* yaml, const char* why) {
    folder.text("data.yaml", yaml);
    CHECK_THROWS_MATCHES(folder.read(), DataError,
                         MessageMatches(ContainsSubstring("data.yaml") && ContainsSubstring(why)));
  };
  refused("nc: 3\n", "no key 'names'");
  refused("nc: 3\nnames: 3\n", ":2: names must be a list or a map");
  refused("names:\n- a\n-\n", ": class 1 has no name");
  refused("names:\n- a\n- [b]\n", ":3: a class name must be plain text");
  refused("names:\n  x: a\n", ":2: names are expected as 'number: name'");
  refused("names:\n  0: a\n  0: b\n", ":3: class 0 is named twice");
  refused("names: [a, b\n", ":2: ");
}

TEST_CASE("YOLO: splits as data.yaml declares them", "[unit]") {
  const SourceFolder folder{"images/a.jpg", "images/b.jpg", "more/images/c.jpg", "held/d.jpg"};
  folder.text("labels/a.txt", kLabel);
  folder.text("more/labels/c.txt", kLabel);
  folder.text("held/d.txt", kLabel);
  folder.text("lists/train.txt", "../images/a.jpg\r\n\n./../more/images/c.jpg\n");
  const auto read = [&](const std::string& declared, const std::string& split = "") {
    folder.text("data.yaml", declared + "\nnames: [cat]\n");
    const Source source = folder.read("", split);
    CHECK(fault_texts(source, folder).empty());
    return names_of_samples(source);
  };
  CHECK(read("train: lists/train.txt\nval: images") == "a+ c+");
  CHECK(read("train: lists/train.txt\nval: images", "val") == "a+ b-");
  CHECK(read("train: [more/images, held]", "train") == "c+ d+");
  CHECK(read("train: [more/images, lists/train.txt]") == "c+ a+ c+");
  CHECK(read("path: more\ntrain: images\nval: ../held", "valid") == "d+");
  CHECK(read("path: ../datasets/nowhere  # root\ntrain: images/train  # 4 images") ==
        "a+ b-");  // of another machine
  CHECK(read("train: /content/set/more/images") == "c+");
  CHECK(read("train:\nval: ''\ntest:") == "a+ b-");
  folder.text("data.yaml", "train: images\nval: held\nnames: [cat]\n");
  CHECK_THAT(warning_texts(folder.read(), folder),
             ContainsSubstring("the split 'train' is read; there are train, val"));
  CHECK(names_of_samples(folder.read("data.yaml", "val")) == "d+");
  CHECK_THROWS_MATCHES(folder.read("", "other"), DataError,
                       MessageMatches(ContainsSubstring("there are the splits more, train, val")));
}

TEST_CASE("YOLO: Roboflow's folders", "[unit]") {
  const SourceFolder folder{"train/images/a_jpg.rf.1.jpg", "valid/images/b.jpg"};
  folder.text(
      "data.yaml",
      "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: ['cat']\n");
  folder.text("train/labels/a_jpg.rf.1.txt", kLabel);
  fs::create_directories(folder.dir.path() / "valid/labels");
  CHECK(names_of_samples(folder.read("", "train")) == "a_jpg.rf.1+");
  CHECK(names_of_samples(folder.read("", "valid")) == "b-");
  CHECK(names_of_samples(folder.read("valid")) == "b-");  // names from the yaml above
  fs::remove(folder.dir.path() / "data.yaml");
  folder.text("classes.txt", "cat\n");
  CHECK(names_of_samples(folder.read("", "val")) == "b-");
  CHECK_THROWS_MATCHES(folder.read(), UsageError,
                       MessageMatches(ContainsSubstring("train, valid")));
}

TEST_CASE("YOLO: CVAT's folders, with the pictures and without", "[unit]") {
  for (const char* picture : {"set/obj_train_data/sub/a.jpg", "pictures/a.jpg"}) {
    const SourceFolder folder{picture};
    folder.text("set/obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n");
    folder.text("set/obj.names", "cat\n");
    folder.text("set/train.txt", "data/obj_train_data/sub/a.jpg\n");
    folder.text("set/obj_train_data/sub/a.txt", kLabel);
    ReadOptions options;
    if (std::string(picture).starts_with("pictures"))
      options.images = folder.dir.path() / "pictures";
    const Source source = folder.read("set", options);
    CHECK(names_of_samples(source) == "a+");
    CHECK(validate(source.samples.at(0)).empty());
  }
}

TEST_CASE("YOLO: labelImg's and Label Studio's folders", "[unit]") {
  const SourceFolder flat{"a.jpg", "b.png.jpg"};
  flat.text("classes.txt", "cat\n");
  flat.text("a.txt", kLabel);
  CHECK(names_of_samples(flat.read()) == "a+ b.png-");
  const SourceFolder studio{"images/a.jpg"};
  studio.text("classes.txt", "cat\n");
  studio.text("notes.json", R"({"categories": [], "info": {}})");
  studio.text("labels/a.txt", kLabel);
  CHECK(names_of_samples(studio.read()) == "a+");
}

TEST_CASE("YOLO: what would be passed over in silence is told", "[unit]") {
  const SourceFolder folder{"images/a.jpg", "images/b.gif"};
  folder.text("data.yaml", "names: [cat]\nnc: 2\n");
  folder.text("other.yaml", "names: [dog]\n");
  folder.text("labels/a.txt", kLabel);
  folder.text("labels/lost.txt", kLabel);
  folder.text("labels/classes.txt", "cat\n");
  folder.text("images/._a.jpg", "Mac OS X");
  folder.text("images/Thumbs.db", "x");
  const Source source = folder.read();
  const std::string warnings = warning_texts(source, folder);
  CHECK_THAT(warnings, ContainsSubstring("labels/lost.txt: a label file without a picture") &&
                           ContainsSubstring("other.yaml") && ContainsSubstring("nc is 2"));
  CHECK_THAT(warnings, !ContainsSubstring("classes.txt"));
  CHECK(names_of_samples(source) == "a+ b-");  // a GIF is refused by name when it is decoded
  fs::remove_all(folder.dir.path() / "labels");
  fs::create_directories(folder.dir.path() / "labels");
  CHECK_THAT(warning_texts(folder.read(), folder),
             ContainsSubstring("no picture has a label file"));
  ReadOptions options;
  options.boxes = BoxFrame::kNorm1000;
  CHECK_THROWS_AS(folder.read("", options), UsageError);
}

}  // namespace muster::data
