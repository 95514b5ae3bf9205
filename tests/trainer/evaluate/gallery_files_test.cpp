#include "trainer/evaluate/gallery_files.h"

#include <catch2/catch_test_macros.hpp>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "trainer/show/judged_pictures.h"

namespace muster::trainer {
namespace {

TEST_CASE("gallery: the worst samples first, the earlier one among equals", "[unit]") {
  const std::vector<std::int64_t> samples{3, 5, 8, 9};
  CHECK(worst_samples(samples, std::vector<std::int64_t>{1, 4, 0, 4}, 3) ==
        std::vector<std::int64_t>{5, 9, 3});
  CHECK(worst_samples(samples, {}, 2) == std::vector<std::int64_t>{3, 5});
  CHECK(worst_samples({}, {}, 2).empty());
}

TEST_CASE("judged pictures: what is written is read; a path never leaves the folder", "[unit]") {
  const TempDir dir;
  JudgedPictures all{.threshold = 0.3};
  all.pictures.push_back(
      {.name = "a <b>",
       .file = "pictures/a.jpg",
       .width = 40,
       .height = 30,
       .truth = {{.box = {1, 2, 3, 4}, .label = "cell", .verdict = BoxVerdict::kMissed}},
       .predicted = {
           {.box = {5, 6, 7, 8}, .label = "dish", .score = 0.5, .verdict = BoxVerdict::kFalse}}});
  all.pictures.push_back(all.pictures.front());
  all.pictures.back().file = "../../secret.jpg";
  write_text(dir.path() / "judged.json", judged_to_json(all));
  const JudgedPictures read = read_judged(dir.path() / "judged.json");
  REQUIRE(read.pictures.size() == 2);
  CHECK(read.threshold == 0.3);
  CHECK(read.pictures[0].errors() == 2);
  CHECK(read.pictures[0].predicted[0].score == 0.5);
  CHECK(read.pictures[0].truth[0].box == std::array<double, 4>{1, 2, 3, 4});
  CHECK(read.pictures[0].file == "pictures/a.jpg");
  CHECK(read.pictures[1].file.empty());
  write_text(dir.path() / "judged.json", R"({"threshold": 0.3, "pictures": [{"name": 7}]})");
  CHECK(read_judged(dir.path() / "judged.json").pictures.empty());
}

}  // namespace
}  // namespace muster::trainer
