// Real sets, and every kind of case that users brought.
#include "data/sources/sources.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/text.h"
#include "data/ingest/judge.h"
#include "data/ingest/pack_source.h"
#include "data/pack/pack.h"
#include "data/sources/source_folder.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

// One line of the cases' table: what a folder or file of it gives.
struct Case {
  const char* source;
  const char* split;
  std::int64_t samples;
  std::int64_t objects;
  std::int64_t faults;
  const char* says;  // in warnings or faults; "" when nothing need be said
};

std::string all_texts(const Source& source) {
  std::vector<std::string> all = source.warnings;
  for (const Fault& fault : source.faults) all.push_back(fault.text());
  return join(all, "\n");
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

TEST_CASE("the cases: every kind that users brought is read, or its faults are named", "[golden]") {
  const fs::path root = test::shared("cases") / "data";
  if (!fs::exists(root)) SKIP("no cases here");
  const std::vector<Case> cases{
      {"coco_backslash", "", 1, 1, 0, ""},
      {"coco_crowdhuman", "", 2, 3, 0, ""},
      {"coco_many_errors", "", 1, 2, 3, "annotations[3]: no bbox"},
      {"coco_null_iscrowd", "", 2, 1, 0, ""},
      {"coco_seg_only", "", 1, 1, 0, ""},
      {"coco_string_ids", "", 1, 1, 0, ""},
      {"json_array_qwenft/data.json", "", 1, 1, 0, ""},
      {"jsonl_hf_imagefolder", "", 1, 1, 0, "numbers for categories"},
      {"jsonl_many_errors", "", 2, 1, 3, "data.jsonl:3: turn 1"},
      {"jsonl_multiimage", "", 2, 1, 0, ""},
      {"jsonl_multiturn", "", 2, 3, 0, ""},
      {"jsonl_qwen2_boxstart", "", 2, 2, 0, ""},
      {"jsonl_referring", "", 2, 2, 0, ""},
      {"jsonl_same_image_many", "", 10, 10, 0, ""},
      {"jsonl_single_dict", "", 1, 1, 0, ""},
      {"jsonl_swift", "", 1, 2, 0, ""},
      {"jsonl_swift_norm1000", "", 1, 2, 0, ""},
      {"jsonl_video", "", 0, 0, 2, "data.jsonl:1: a video"},
      {"jsonl_vqa_mixed", "", 3, 1, 0, ""},
      {"roboflow_yolo", "train", 1, 2, 0, ""},
      {"roboflow_yolo", "val", 1, 2, 0, ""},
      {"roboflow_yolo", "valid", 1, 2, 0, ""},
      {"voc_appledouble", "", 1, 2, 0, ""},
      {"voc_cdata", "", 1, 1, 0, ""},
      {"voc_gbk", "", 1, 1, 0, ""},
      {"voc_size0", "", 1, 2, 0, "taken from the picture"},
      {"voc_space", "train", 1, 2, 0, ""},
      {"voc_upper_JPEG", "", 1, 2, 0, ""},
      {"yolo_bom_classes", "", 1, 2, 0, ""},
      {"yolo_oob", "", 2, 3, 0, ""},
      {"yolo_orphan_label", "", 1, 2, 0, "zzz_no_image.txt: a label file without a picture"},
      {"yolo_seg", "", 2, 3, 0, ""},
      {"yolo_traintxt", "", 1, 2, 0, "the split 'train' is read"},
      {"yolo_traintxt", "val", 1, 2, 0, ""},
      {"yolo_two_yaml", "", 1, 2, 0, "b_old.yaml"},
      {"yolo_webp_bmp", "", 4, 8, 0, ""},
      {"yolo_yaml_comment", "", 1, 2, 0, ""},
  };
  for (const Case& one : cases) {
    INFO(one.source << " " << one.split);
    const Source source = read_source(root / one.source, "", one.split);
    std::int64_t objects = 0;
    for (const Sample& sample : source.samples) {
      objects += static_cast<std::int64_t>(sample.objects.size());
      for (const Picture& picture : sample.pictures) CHECK(fs::exists(picture.path));
    }
    CHECK(static_cast<std::int64_t>(source.samples.size()) == one.samples);
    CHECK(objects == one.objects);
    CHECK(static_cast<std::int64_t>(source.faults.size()) == one.faults);
    CHECK_THAT(all_texts(source), ContainsSubstring(one.says));
  }
}

TEST_CASE("the cases: pictures that are odd", "[golden]") {
  const fs::path root = test::shared("cases") / "data" / "pictures";
  if (!fs::exists(root)) SKIP("no cases here");
  for (const char* good : {"04_cmyk.jpg", "09_trunc_last2.jpg", "11_extraneous_before_eoi.jpg",
                           "16_webp_named.jpg", "06_exif6.jpg", "07_exif6.png"})
    CHECK(examine_picture(root / good, Reading::kPixels).fault == "");
  CHECK_FALSE(examine_picture(root / "09_trunc_last2.jpg", Reading::kPixels).warnings.empty());
  const PictureFacts turned = examine_picture(root / "06_exif6.jpg", Reading::kPixels);
  CHECK((turned.orientation == 6 && turned.width == 320 && turned.height == 240));
}

}  // namespace muster::data
