#include "data/ingest/pack_source.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>
#include <set>

#include "data/ingest/divide.h"
#include "data/ingest/judge.h"
#include "data/pack/pack.h"
#include "data/sources/source_folder.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using test::objects_text;
using test::SourceFolder;

Sample sample_of(const SourceFolder& folder, const char* name = "a") {
  Sample sample;
  sample.name = name;
  sample.where = "file.xml";
  Picture picture;
  picture.path = folder.dir.path() / (std::string(name) + ".jpg");
  picture.width = 40;
  picture.height = 30;
  sample.pictures = {picture};
  sample.objects = {{{0, 0, 40, 30}, 1, "cell", false, 1200}};
  return sample;
}

Source source_of(const std::vector<Sample>& samples) {
  Source source;
  source.format = "coco";
  source.samples = SampleStore(samples);
  source.categories = {{1, "cell"}, {2, "other"}};
  return source;
}

// The part of samples that show pictures of these checksums.
std::vector<bool> drawn(const std::vector<std::vector<std::string>>& pictures, std::uint64_t seed) {
  ValidationDraw draw(pictures.size());
  for (std::size_t i = 0; i < pictures.size(); ++i)
    for (const std::string& picture : pictures[i]) draw.show(i, digest_of(picture));
  return draw.draw(0.5, seed);
}

// --check-only must say of a picture what packing says.
std::string faults_of(const Sample& sample) {
  const std::string faults = join(validate(sample, Reading::kPixels), "\n");
  CHECK(faults == join(validate(sample, Reading::kStructure), "\n"));
  return faults;
}

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

PackReport check(const Source& source, PackOptions options) {
  options.check_only = true;
  return pack_source(source, "", options);
}

}  // namespace

TEST_CASE("a good sample has no faults; each bad thing is told with file, object and value",
          "[unit]") {
  const SourceFolder folder{"a.jpg"};
  const Sample good = sample_of(folder);
  CHECK(faults_of(good).empty());
  const auto with_box = [&](std::array<double, 4> box) {
    Sample sample = good;
    sample.objects.push_back({box, 1, "blob", false, 1});
    return faults_of(sample);
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

TEST_CASE("images: missing, cut, of another size, turned by EXIF, too thin", "[fault]") {
  const SourceFolder folder{"a.jpg"};
  const Sample good = sample_of(folder);
  const auto with_image = [&](const std::vector<std::byte>& bytes) {
    folder.put("a.jpg", bytes);
    return faults_of(good);
  };
  std::vector<std::byte> cut = SourceFolder::jpeg();
  cut.resize(cut.size() - 20);
  CHECK_THAT(with_image(cut), ContainsSubstring("unreadable") && ContainsSubstring("a.jpg"));
  CHECK_THAT(with_image({std::byte{1}}), ContainsSubstring("unreadable"));
  CHECK_THAT(with_image({}), ContainsSubstring("unreadable"));
  CHECK_THAT(with_image(rotated(SourceFolder::jpeg(), 6)),
             ContainsSubstring("EXIF orientation 6") && ContainsSubstring("--upright"));
  CHECK(with_image(rotated(SourceFolder::jpeg(), 1)).empty());
  CHECK_THAT(with_image(SourceFolder::jpeg(30, 40)),
             ContainsSubstring("recorded size 40x30") && ContainsSubstring("30x40"));
  CHECK_THAT(with_image(SourceFolder::jpeg(402, 2)), ContainsSubstring("aspect ratio over 200"));
  CHECK_THAT(with_image(SourceFolder::jpeg(400, 2)), !ContainsSubstring("aspect"));
  fs::remove(good.pictures[0].path);
  CHECK_THAT(faults_of(good), ContainsSubstring("missing"));
}

TEST_CASE("repairs: boxes are cut, left out, or end the pack", "[unit]") {
  const SourceFolder folder{"a.jpg", "b.jpg"};
  Sample bad = sample_of(folder);
  bad.objects.push_back({{-5, 3, 20, 50}, 1, "over", false, 25 * 47});
  bad.objects.push_back({{50, 3, 60, 9}, 1, "beyond", false, 60});
  const Source source = source_of({bad, sample_of(folder, "b")});
  CHECK_THROWS_MATCHES(
      check(source, {}), PackError,
      MessageMatches(ContainsSubstring("1 of 2 samples") && ContainsSubstring("object 1 (over)") &&
                     ContainsSubstring("object 2 (beyond)")));
  PackOptions options;
  options.skip_bad = true;
  CHECK((check(source, options).packed == 1 && check(source, options).left_out.size() == 1));
  options = {};
  options.drop_bad_boxes = true;
  PackReport report = check(source, options);
  CHECK((report.packed == 2 && report.objects == 2 && report.dropped_boxes.size() == 2));
  options.clip = true;
  report = check(source, options);
  CHECK((report.packed == 2 && report.objects == 3 && report.dropped_boxes.size() == 1));
  REQUIRE(report.clipped.size() == 1);
  CHECK_THAT(report.clipped[0], ContainsSubstring("box [-5,3,20,50] cut to [0,3,20,30]"));
  options.drop_bad_boxes = false;
  CHECK_THROWS_AS(check(source, options), PackError);  // what lies beyond cannot be cut
}

TEST_CASE("repairs: faults of readers obey the same options", "[unit]") {
  const SourceFolder folder{"a.jpg", "b.jpg"};
  Source source = source_of({sample_of(folder), sample_of(folder, "b")});
  source.faults = {{Fault::Of::kBox, "x.json: annotations[3]", "no bbox", 0},
                   {Fault::Of::kBox, "x.json: annotations[9]", "image_id 7 is not there", -1},
                   {Fault::Of::kSample, "x.json: images[4]", "no 'file_name'", -1}};
  try {
    check(source, {});
    FAIL("packed");
  } catch (const PackError& error) {
    CHECK(error.faults.size() == 3);
    CHECK_THAT(error.what(), ContainsSubstring("2 of 3 samples") &&
                                 ContainsSubstring("annotations[9]: image_id 7"));
  }
  PackOptions options;
  options.skip_bad = true;
  CHECK((check(source, options).packed == 1 && check(source, options).left_out.size() == 3));
  options.drop_bad_boxes = true;
  const PackReport report = check(source, options);
  CHECK((report.packed == 2 && report.dropped_boxes.size() == 2 && report.left_out.size() == 1 &&
         report.read == 3));
}

TEST_CASE("repairs: --upright stores pictures turned and judges boxes against that", "[unit]") {
  const SourceFolder folder{};
  folder.put("a.jpg", rotated(SourceFolder::jpeg(), 6));  // 40x30 stored, 30x40 upright
  const std::string head =
      R"({"categories": [{"id": 1, "name": "c"}], "images": [{"id": 1, "file_name": "a.jpg")";
  const std::string tail =
      R"(}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [2, 30, 10, 8]}]})";
  ReadOptions upright;
  upright.upright = true;
  folder.text("x.json", head + tail);
  CHECK_THROWS_MATCHES(check(folder.read("x.json"), {}), PackError,
                       MessageMatches(ContainsSubstring("EXIF orientation 6")));
  folder.text("x.json", head + R"(, "width": 30, "height": 40)" + tail);
  for (const Source& source : {folder.read("x.json", upright)}) {
    const PackReport report = pack_source(source, folder.dir.path() / "p.h5", PackOptions{});
    CHECK((report.turned.size() == 1 && report.repaired.empty()));
    const Sample sample = Pack(folder.dir.path() / "p.h5").sample(0);
    CHECK((sample.pictures[0].orientation == 6 && sample.pictures[0].width == 30 &&
           sample.pictures[0].height == 40));
    CHECK(objects_text(sample) == "c 2,30,12,38");
  }
  // The source records the picture unturned: so are its boxes, which turn with it.
  folder.text(
      "x.json",
      head +
          R"(, "width": 40, "height": 30}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [2, 10, 10, 8]}]})");
  const Source turned = folder.read("x.json", upright);
  CHECK(objects_text(turned.samples.at(0)) == "c 12,2,20,12");
  CHECK_THAT(join(turned.repaired, "\n"), ContainsSubstring("boxes turned with the picture"));
}

TEST_CASE("classes are renamed, merged and kept", "[unit]") {
  const SourceFolder folder{"a.jpg", "b.jpg"};
  Sample sample = sample_of(folder);
  sample.objects = {{{0, 0, 4, 4}, 1, "cell", false, 16},
                    {{0, 0, 5, 5}, 2, "other", false, 25},
                    {{0, 0, 6, 6}, 2, "a caption", false, 36}};
  const Source source = source_of({sample, sample_of(folder, "b")});
  PackOptions options;
  options.rename = {{"other", "cell"}};
  const fs::path out = folder.dir.path() / "p.h5";
  PackReport report = pack_source(source, out, options);
  CHECK(report.objects_per_category == decltype(report.objects_per_category){{"cell", 4}});
  const Sample packed = Pack(out).sample(0);
  CHECK((packed.objects[1].category == 1 && packed.objects[1].caption == "cell" &&
         packed.objects[2].caption == "a caption"));
  options.rename = {{"other", "blob"}};
  options.classes = {"blob"};
  report = check(source, options);
  CHECK((report.objects == 2 && report.packed == 2));
  CHECK(report.other_classes == decltype(report.other_classes){{"cell", 2}});
  options.classes = {"blub"};
  CHECK_THROWS_MATCHES(check(source, options), UsageError,
                       MessageMatches(ContainsSubstring("blub") && ContainsSubstring("'blob'")));
  options.rename = {{"nothing", "x"}};
  CHECK_THROWS_AS(check(source, options), UsageError);
}

TEST_CASE("--val-fraction divides by picture, the same everywhere", "[unit]") {
  const SourceFolder folder{};
  std::vector<Sample> samples;
  for (int i = 0; i < 20; ++i) {
    const std::string name = "p" + std::to_string(i);
    folder.put(name + ".jpg", SourceFolder::jpeg(40, 30, static_cast<std::uint8_t>(i * 10)));
    folder.put("copy-" + name + ".jpg",
               SourceFolder::jpeg(40, 30, static_cast<std::uint8_t>(i * 10)));
    for (const std::string& one : {name, name, "copy-" + name})
      samples.push_back(sample_of(folder, one.c_str()));
  }
  PackOptions options;
  options.val_fraction = 0.25;
  options.seed = 3;
  const fs::path out = folder.dir.path() / "all.h5";
  const PackReport report = pack_source(source_of(samples), out, options);
  CHECK((report.packed == 45 && report.val_packed == 15 && report.pictures == 20));
  const Pack train(out);
  const Pack val(folder.dir.path() / "all.val.h5");
  CHECK((train.size() == 45 && val.size() == 15 && train.num_pictures() == 15 &&
         val.num_pictures() == 5));
  // Other names and another order of the same pictures are divided alike.
  const std::vector<std::vector<std::string>> pictures{{"x"}, {"y"}, {"z", "y"}, {"w"}, {}};
  const std::vector<bool> once = drawn(pictures, 7);
  CHECK(once[1] == once[2]);
  CHECK(once == drawn(pictures, 7));
  const std::vector<bool> swapped = drawn({{"w"}, {"z", "y"}, {"x"}, {"y"}}, 7);
  const std::vector<bool> plain = drawn({{"x"}, {"y"}, {"z", "y"}, {"w"}}, 7);
  CHECK((plain[0] == swapped[2] && plain[1] == swapped[3] && plain[3] == swapped[0]));
  std::set<std::vector<bool>> draws;
  for (std::uint64_t seed = 0; seed < 20; ++seed) draws.insert(drawn(pictures, seed));
  CHECK(draws.size() > 1);
  CHECK_THROWS_AS(check(source_of({sample_of(folder, "p0")}), options), DataError);
}

TEST_CASE("a picture is stored once, whatever number of samples show it", "[unit]") {
  const SourceFolder folder{"a.jpg"};
  const fs::path out = folder.dir.path() / "p.h5";
  const PackReport report =
      pack_source(source_of(std::vector<Sample>(30, sample_of(folder))), out, PackOptions{});
  CHECK((report.packed == 30 && report.pictures == 1));
  const Pack pack(out);
  CHECK((pack.num_pictures() == 1 && pack.sample(29).name == "a#30"));
}

TEST_CASE("oddities are warned about", "[unit]") {
  const SourceFolder folder{"a.jpg"};
  Sample sample = sample_of(folder);
  sample.objects.push_back({{3, 3, 4, 9}, 1, "cell", false, 6});
  sample.objects.push_back({{3, 3, 4, 9}, 1, "cell", false, 6});
  Sample empty = sample_of(folder);
  empty.objects.clear();
  Sample words = empty;
  words.boxed = false;
  const PackReport report = check(source_of({sample, empty, words}), {});
  const std::string all = join(report.warnings, "\n");
  for (const char* expected :
       {"only one class", "1 images without objects, first a#2",
        "2 boxes with a side under 2 pixels, first a object 1", "over 95 %",
        "listed before, first a#2", "e.g. a#2", "a box is listed twice, first a"})
    CHECK_THAT(all, ContainsSubstring(expected));
  CHECK(report.objects_per_category ==
        decltype(report.objects_per_category){{"cell", 3}, {"other", 0}});
  CHECK(report.unboxed == 1);
}

TEST_CASE("boxes in another frame than pixels are suspected (D-012)", "[unit]") {
  const SourceFolder folder{};
  folder.put("a.jpg", SourceFolder::jpeg(1600, 1200));
  Sample sample = sample_of(folder);
  sample.pictures[0].width = 1600;
  sample.pictures[0].height = 1200;
  sample.objects = {{{500, 500, 990, 1000}, 1, "cell", false, 1}};
  CHECK_THAT(join(check(source_of({sample}), {}).warnings, "\n"),
             ContainsSubstring("--boxes norm1000 (D-012)"));
  sample.objects.push_back({{500, 500, 1001, 1000}, 1, "cell", false, 1});
  CHECK_THAT(join(check(source_of({sample}), {}).warnings, "\n"), !ContainsSubstring("D-012"));
  sample.objects.pop_back();
  Source shares = source_of({sample});
  shares.pixels = false;
  CHECK_THAT(join(check(shares, {}).warnings, "\n"), !ContainsSubstring("D-012"));

  std::vector<Sample> corner;
  for (int i = 0; i < 4; ++i) {
    const std::string name = "c" + std::to_string(i);
    folder.put(name + ".jpg", SourceFolder::jpeg(40, 30, static_cast<std::uint8_t>(i)));
    corner.push_back(sample_of(folder, name.c_str()));
    corner.back().objects = {{{2, 2, 19, 14}, 1, "cell", false, 1}};
  }
  CHECK_THAT(join(check(source_of(corner), {}).warnings, "\n"),
             ContainsSubstring("sit in one corner"));
  corner[0].objects[0].box = {2, 2, 39, 14};
  CHECK_THAT(join(check(source_of(corner), {}).warnings, "\n"), !ContainsSubstring("corner"));

  Sample thousand = sample_of(folder, "c0");
  thousand.objects = {{{100, 100, 900, 1000}, 1, "cell", false, 1}};
  CHECK_THROWS_MATCHES(check(source_of({thousand}), {}), PackError,
                       MessageMatches(ContainsSubstring("say --boxes norm1000")));
}

}  // namespace muster::data
