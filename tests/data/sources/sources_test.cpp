#include "data/sources/sources.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>

#include "base/error.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "data/images/codec.h"
#include "data/sources/small_sets.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

// A folder to build a source in, with one 40x30 JPEG at each given path.
struct Folder {
  explicit Folder(std::initializer_list<const char*> images) {
    for (const char* image : images) put(image, jpeg());
  }
  static std::vector<std::byte> jpeg() {
    return encode_jpeg({40, 30, std::vector<std::uint8_t>(40 * 30 * 3, 120)}, 90);
  }
  void put(const fs::path& at, const std::vector<std::byte>& bytes) {
    fs::create_directories((dir.path() / at).parent_path());
    test::write_bytes(dir.path() / at, bytes);
  }
  void text(const fs::path& at, std::string_view content) {
    fs::create_directories((dir.path() / at).parent_path());
    write_text(dir.path() / at, content);
  }
  Source read(const fs::path& at = "", const std::string& split = "") {
    return read_source(dir.path() / at, "", split);
  }
  TempDir dir;
};

std::string voc(const char* box, const char* name = "cell") {
  return "<?xml version=\"1.0\"?>\n<annotation verified='yes'><!-- c "
         "--><filename>a.jpg</filename>\n<size><width>40</width><height>30</height></size>\n"
         "<object><name>" +
         std::string(name) + "</name><difficult>1</difficult><bndbox>" + box +
         "</bndbox></object></annotation>\n";
}

Sample good_sample(const Folder& folder) {
  Sample sample;
  sample.name = "a";
  sample.where = "file.xml";
  sample.pictures = {{.path = folder.dir.path() / "a.jpg", .width = 40, .height = 30}};
  sample.objects = {{{0, 0, 40, 30}, 1, "cell", false, 1200}};
  return sample;
}

std::string faults(const Sample& sample) { return join(validate(sample), "\n"); }

// APP1 with nothing but the orientation tag, put after the start marker.
std::vector<std::byte> rotated(std::vector<std::byte> jpeg, int orientation) {
  const char head[] =
      "\xff\xe1\x00\x22"
      "Exif\0\0"
      "II\x2a\0\x08\0\0\0"
      "\x01\0"
      "\x12\x01\x03\0\x01\0\0\0";
  std::string exif(head, sizeof(head) - 1);
  exif += std::string{static_cast<char>(orientation), 0, 0, 0, 0, 0, 0, 0};
  const auto* bytes = reinterpret_cast<const std::byte*>(exif.data());
  jpeg.insert(jpeg.begin() + 2, bytes, bytes + exif.size());
  return jpeg;
}

}  // namespace

TEST_CASE("BCCD: every box is fine but the two known ones, which are named", "[golden]") {
  const fs::path bccd = test::shared("data/bccd");
  std::vector<std::string> found;
  for (const auto& [split, count] : {std::pair{"train", 205}, {"val", 87}}) {
    const Source source = read_source(bccd, "", split);
    CHECK((source.format == "voc" && static_cast<int>(source.samples.size()) == count));
    REQUIRE(source.categories.size() == 3);
    CHECK((source.categories[0].name == "Platelets" && source.categories[1].name == "RBC" &&
           source.categories[2].name == "WBC"));
    for (const Sample& sample : source.samples)
      for (const std::string& fault : validate(sample)) found.push_back(fault);
  }
  REQUIRE(found.size() == 2);
  std::sort(found.begin(), found.end());
  CHECK_THAT(found[0], ContainsSubstring("BloodImage_00338.xml") && ContainsSubstring("RBC") &&
                           ContainsSubstring("[504,337,504,337]"));
  CHECK_THAT(found[1], ContainsSubstring("BloodImage_00343.xml") && ContainsSubstring("RBC") &&
                           ContainsSubstring("[181,329,181,329]"));
}

TEST_CASE("pack refuses bad samples by name, or leaves them out", "[golden]") {
  const fs::path bccd = test::shared("data/bccd");
  const Source source = read_source(bccd, "", "");
  REQUIRE(source.samples.size() == 292);
  const TempDir dir;
  const fs::path out = dir.path() / "all.h5";
  CHECK_THROWS_MATCHES(
      pack_source(source, out, false, false), DataError,
      MessageMatches(ContainsSubstring("BloodImage_00338") &&
                     ContainsSubstring("BloodImage_00343") && ContainsSubstring("--skip-bad")));
  CHECK_FALSE(fs::exists(out));
  CHECK(pack_source(source, out, true, true).packed == 290);
  CHECK_FALSE(fs::exists(out));
  const PackReport report = pack_source(source, out, true, false);
  CHECK((report.packed == 290 && report.left_out.size() == 2 && Pack(out).size() == 290));
}

TEST_CASE("VOC", "[unit]") {
  Folder folder{"JPEGImages/a.jpg"};
  folder.text("Annotations/a.xml", voc("<xmin>1</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax>",
                                       "a &lt;b&gt; &#233;"));
  folder.text("ImageSets/Main/train.txt", "a  1\n\n");
  const Source source = folder.read("", "train");
  REQUIRE(source.samples.size() == 1);
  CHECK(source.samples[0].objects[0].box == std::array<double, 4>{1, 2, 40, 30});
  CHECK(source.categories[0].name == "a <b> \xc3\xa9");
  CHECK(source.categories[0].id == 1);
  CHECK(faults(source.samples[0]).empty());
  folder.text("Annotations/b.xml",
              voc("", "a"));  // of another split: its class counts all the same
  CHECK(folder.read("", "train").samples[0].objects[0].category == 2);
  fs::remove(folder.dir.path() / "Annotations/b.xml");
  CHECK_THROWS_MATCHES(folder.read("", "test"), DataError,
                       MessageMatches(ContainsSubstring("test.txt")));
  folder.text("Annotations/a.xml", voc("<xmin>x</xmin>"));
  CHECK_THROWS_MATCHES(folder.read(), DataError,
                       MessageMatches(ContainsSubstring("a.xml:4") && ContainsSubstring("xmin")));
  folder.text("Annotations/a.xml", voc(""));
  CHECK_THROWS_MATCHES(folder.read(), DataError,
                       MessageMatches(ContainsSubstring("has no <xmin>")));
}

TEST_CASE("VOC: names in CDATA and in the encoding that the file declares", "[unit]") {
  Folder folder{"JPEGImages/a.jpg"};
  const std::string box = "<xmin>1</xmin><ymin>2</ymin><xmax>40</xmax><ymax>30</ymax>";
  folder.text("Annotations/a.xml", voc(box.c_str(), "<![CDATA[red & white]]>"));
  CHECK(folder.read().samples.at(0).objects.at(0).caption == "red & white");
  const std::string latin = voc(box.c_str(), "caf\xe9");
  folder.text("Annotations/a.xml",
              "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>" + latin.substr(latin.find('\n')));
  CHECK(folder.read().samples.at(0).objects.at(0).caption == "caf\xc3\xa9");
}

TEST_CASE("COCO", "[unit]") {
  Folder folder{"images/a.jpg"};
  const std::string head =
      R"({"categories": [{"id": 9, "name": "dog"}], "images": [{"id": 5, "file_name": "a.jpg", "width": 40, "height": 30}], "annotations": [)";
  folder.text(
      "x.json",
      head +
          R"({"image_id": 5, "category_id": 9, "bbox": [1.5, 2, 38.51, 10], "iscrowd": 1, "area": 7, "segmentation": [[1, 2]]},
                                  {"image_id": 5, "category_id": 9, "bbox": [0, 0, 2, 2], "caption": "a small dog"}]})");
  const Source source = folder.read("x.json");
  const Sample& sample = source.samples.at(0);
  CHECK((sample.source_id == 5 && sample.name == "a"));
  CHECK(sample.objects.at(0).box == std::array<double, 4>{1.5, 2, 40, 12});  // 40.01 is rounding
  CHECK((sample.objects[0].crowd && sample.objects[0].area == 7 &&
         sample.objects[0].caption == "dog"));
  CHECK((!sample.objects.at(1).crowd && sample.objects[1].area == 4 &&
         sample.objects[1].caption == "a small dog"));
  CHECK(faults(sample).empty());
  const auto broken = [&](const std::string& annotation) {
    folder.text("x.json", head + annotation + "]}");
    return [&] { folder.read("x.json"); };
  };
  CHECK_THROWS_MATCHES(broken(R"({"image_id": 6, "category_id": 9, "bbox": [0,0,1,1]})")(),
                       DataError,
                       MessageMatches(ContainsSubstring("x.json: annotations[0]: image_id 6")));
  CHECK_THROWS_MATCHES(broken(R"({"image_id": 5, "category_id": 8, "bbox": [0,0,1,1]})")(),
                       DataError, MessageMatches(ContainsSubstring("category_id 8")));
  CHECK_THROWS_MATCHES(broken(R"({"image_id": 5, "category_id": 9, "bbox": [0,0,1]})")(), DataError,
                       MessageMatches(ContainsSubstring("annotations[0]")));
  CHECK_THROWS_MATCHES(broken(R"({"image_id": 5, "category_id": 9})")(), DataError,
                       MessageMatches(ContainsSubstring("bbox")));
  CHECK_THROWS_MATCHES(broken("{")(), DataError, MessageMatches(ContainsSubstring("line")));
  CHECK_THROWS_AS(folder.read("x.json", "val"), UsageError);
}

TEST_CASE("YOLO, with the three forms of names", "[unit]") {
  for (const char* names :
       {"path: x\nnames: ['cat', \"big, dog\"]\n", "names:\n  0: cat\n  1: big, dog\nnc: 2\n",
        "names:\n- cat\n- big, dog\nnc: 2\n"}) {
    Folder folder{"images/train/a.jpg", "images/train/sub/b.jpg", "images/val/c.jpg"};
    folder.text("data.yaml", names);
    folder.text("labels/train/a.txt", "1 0.5 0.5 1.000001 0.5\n");
    const Source source = folder.read("", "train");
    REQUIRE(source.samples.size() == 2);
    CHECK(source.samples[0].objects.at(0).box == std::array<double, 4>{0, 7.5, 40, 22.5});
    CHECK(source.samples[0].objects[0].caption == "big, dog");
    CHECK(source.samples[1].objects.empty());
    CHECK(faults(source.samples[0]).empty());
    CHECK(folder.read().samples.size() == 3);
    for (const char* bad :
         {"1 0.5 0.5 1", "2 0.5 0.5 0.1 0.1", "1 0.5 x 0.1 0.1", "nan 0.5 0.5 0.1 0.1"}) {
      folder.text("labels/train/a.txt", std::string("0 0.5 0.5 0.1 0.1\n") + bad);
      CHECK_THROWS_MATCHES(folder.read("", "train"), DataError,
                           MessageMatches(ContainsSubstring("a.txt:2")));
    }
    folder.text("labels/train/a.txt", "0 0.5 0.5 1.5 0.5");
    CHECK_THAT(faults(folder.read("", "train").samples[0]), ContainsSubstring("outside"));
  }
}

TEST_CASE("YOLO: classes.txt has one name a line, in quotes or not", "[unit]") {
  Folder folder{"images/a.jpg"};
  fs::create_directories(folder.dir.path() / "labels");
  folder.text("classes.txt", "cat\n\"big, dog\"\n\n 'owl' \n");
  std::vector<std::string> names;
  for (const Category& category : folder.read().categories) names.push_back(category.name);
  CHECK(names == std::vector<std::string>{"cat", "big, dog", "owl"});
}

TEST_CASE("YOLO: names as YAML has them", "[unit]") {
  Folder folder{"images/a.jpg"};
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
  CHECK(names("train: images  # here\nnc: 1\nnames:\n- a\ndownload: |\n  print('x: y')\n") ==
        "0=a");
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

TEST_CASE("JSONL: conversations, objects, words only", "[unit]") {
  Folder folder{"a.jpg", "images/b.jpg"};
  folder.text(
      "x.jsonl",
      R"({"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\nfind"}, {"from": "gpt", "value": "```json\n[{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"dog\"}]\n```"}]})"
      "\n"
      R"({"image": "b.jpg", "objects": [{"bbox": [0, 0, 40, 30], "label": "cat", "caption": "a cat"}]})"
      "\n\n"
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "why?"}]}, {"role": "assistant", "content": "so"}]})"
      "\n"
      R"({"messages": [{"role": "user", "content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "what?"}]}, {"role": "assistant", "content": "a grey square"}]})"
      "\n");
  const Source source = folder.read("x.jsonl");
  REQUIRE(source.samples.size() == 4);
  CHECK(source.samples[0].objects.at(0).box == std::array<double, 4>{1, 2, 3, 4});
  CHECK((source.samples[0].turns.empty() && source.samples[0].pictures[0].width == 40));
  CHECK((source.samples[1].objects.at(0).caption == "a cat" &&
         source.samples[1].objects[0].category == 1));
  CHECK((!source.samples[2].has_picture() && source.samples[2].turns.at(0).text == "why?" &&
         source.samples[2].turns.at(1).text == "so"));
  CHECK((source.samples[3].has_picture() && source.samples[3].turns.at(0).text == "what?" &&
         source.samples[3].turns.at(1).text == "a grey square"));
  for (const Sample& sample : source.samples) CHECK(faults(sample).empty());
  for (
      const char* bad :
      {"{", "{}", R"({"image": "a.jpg", "objects": [{"bbox": [1,2,3], "label": "x"}]})",
       R"({"image": "a.jpg", "objects": [{"bbox": [1,2,3,4]}]})",
       R"({"image": "a.jpg", "conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "[{\"bbox_2d\": [1,"}]})",
       R"({"image": ["a", "b"], "objects": []})",
       R"({"messages": [{"role": "user", "content": "x"}]})"}) {
    folder.text("y.jsonl", std::string("{\"image\": \"a.jpg\", \"objects\": []}\n") + bad);
    CHECK_THROWS_MATCHES(folder.read("y.jsonl"), DataError,
                         MessageMatches(ContainsSubstring("y.jsonl:2")));
  }
}

TEST_CASE("a good sample has no faults; each bad thing is told with file, object and value",
          "[unit]") {
  Folder folder{"a.jpg"};
  const Sample good = good_sample(folder);
  CHECK(faults(good).empty());
  const auto with_box = [&](std::array<double, 4> box) {
    Sample sample = good;
    sample.objects.push_back({box, 1, "blob", false, 1});
    return faults(sample);
  };
  CHECK(with_box({39, 29, 40, 30}).empty());
  CHECK_THAT(with_box({5, 6, 5, 6}),
             ContainsSubstring("file.xml: object 1 (blob): box [5,6,5,6]: zero area"));
  CHECK_THAT(with_box({5, 6, 5, 9}), ContainsSubstring("zero area"));
  CHECK_THAT(with_box({9, 6, 5, 9}), ContainsSubstring("inverted"));
  CHECK_THAT(with_box({5, 6, 40.5, 9}),
             ContainsSubstring("[5,6,40.5,9]: outside the image of 40x30"));
  CHECK_THAT(with_box({-1, 6, 9, 9}), ContainsSubstring("outside"));
  CHECK_THAT(with_box({0.1, 0.2, 0.5, 0.9}), ContainsSubstring("normalised"));
  CHECK_THAT(with_box({0, 0, std::numeric_limits<double>::quiet_NaN(), 9}),
             ContainsSubstring("not finite"));
}

TEST_CASE("images: missing, cut, of another size, turned by EXIF, no image", "[fault]") {
  Folder folder{"a.jpg"};
  const Sample good = good_sample(folder);
  const auto with_image = [&](const std::vector<std::byte>& bytes) {
    folder.put("a.jpg", bytes);
    return faults(good);
  };
  std::vector<std::byte> cut = Folder::jpeg();
  cut.resize(cut.size() - 20);
  CHECK_THAT(with_image(cut), ContainsSubstring("unreadable") && ContainsSubstring("a.jpg"));
  CHECK_THAT(with_image({std::byte{1}}), ContainsSubstring("unreadable"));
  CHECK_THAT(with_image({}), ContainsSubstring("unreadable"));
  CHECK_THAT(with_image(rotated(Folder::jpeg(), 6)), ContainsSubstring("EXIF orientation 6"));
  CHECK(with_image(rotated(Folder::jpeg(), 1)).empty());
  CHECK_THAT(with_image(encode_png({30, 40, std::vector<std::uint8_t>(3600)})),
             ContainsSubstring("recorded size 40x30") && ContainsSubstring("30x40"));
  fs::remove(good.pictures[0].path);
  CHECK_THAT(faults(good), ContainsSubstring("missing"));
}

TEST_CASE("oddities are warned about", "[unit]") {
  Folder folder{"a.jpg"};
  Sample sample = good_sample(folder), empty = sample;
  sample.objects.push_back({{3, 3, 4, 9}, 1, "cell", false, 6});
  empty.objects.clear();
  const Source source{"coco", {sample, empty}, {{1, "cell"}, {2, "other"}}, {}, {}};
  const PackReport report = pack_source(source, folder.dir.path() / "p.h5", false, false);
  const std::string all = join(report.warnings, "\n");
  for (const char* expected : {"only one class", "1 images without objects, first a#2",
                               "side under 2 pixels, first a object 1", "over 95 %",
                               "listed before, first a#2", "e.g. a#2"})
    CHECK_THAT(all, ContainsSubstring(expected));
  CHECK(report.objects_per_category ==
        std::vector<std::pair<std::string, std::int64_t>>{{"cell", 2}, {"other", 0}});
  CHECK_THROWS_MATCHES(read_source(folder.dir.path(), "", ""), DataError,
                       MessageMatches(ContainsSubstring("not recognised")));
}

}  // namespace muster::data
