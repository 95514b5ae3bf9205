// Law 9 on the whole loop: data, model, loss, engine.
#include <catch2/catch_test_macros.hpp>

#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;

namespace {

RunResult train(int ranks, const std::vector<std::string>& overrides = {}) {
  const TempDir dir;
  const std::vector<RunResult> results = run_threads(tiny_config(dir.path(), overrides), ranks);
  for (const RunResult& r : results) REQUIRE(r == results.front());
  REQUIRE(results.front().losses.size() == 20);
  return results.front();
}

}  // namespace

TEST_CASE("20 steps give the same bits on 1, 2 and 4 ranks", "[ranks]") {
  const RunResult one = train(1);
  CHECK(train(2) == one);
  CHECK(train(4) == one);
}

TEST_CASE("20 steps give the same bits for three bucket sizes, overlap on and off", "[ranks]") {
  const RunResult reference = train(2, {"sharding.overlap=false"});
  CHECK(train(2, {"sharding.bucket_bytes=860160"}) == reference);
  CHECK(train(2, {"sharding.bucket_bytes=67108864"}) == reference);
  CHECK(train(2, {"sharding.overlap=true"}) == reference);
}

TEST_CASE(
    "with augmentation 20 steps give the same bits on 1, 2 and 4 ranks and any loader threads",
    "[ranks]") {
  const RunResult one = train(1, augmented());  // 15 of its steps are augmented
  CHECK(train(2, augmented({"data.loader_threads=3"})) == one);
  CHECK(train(4, augmented({"data.loader_threads=2", "data.prefetch_bytes=9000000"})) == one);
  CHECK(train(1) != one);  // control: it changes what is trained
  CHECK(train(1, augmented({"data.augment.close_after=0"})) == train(1));
}

TEST_CASE("several packs with weights give the same bits on 1 and 2 ranks", "[ranks]") {
  const fs::path data = TinyData::instance().folder();
  const std::string packs = "data.train=[{pack: " + (data / "train.h5").string() +
                            ", weight: 0.5}, {pack: " + (data / "val.h5").string() +
                            ", weight: 2}]";
  const std::vector<std::string> set = {packs, "data.repeat_factor=0.5"};
  const RunResult one = train(1, set);
  CHECK(train(2, set) == one);
  CHECK(train(1) != one);
  CHECK(train(1, {packs}) != train(1, {packs, "data.limit=6"}));
}

TEST_CASE("closed labels with denoising give the same bits on 1, 2 and 4 ranks", "[ranks]") {
  const std::vector<std::string> closed = {"detection.labels=closed", "loss.match_caption=1",
                                           "detection.denoising_groups=2"};
  const RunResult one = train(1, closed);
  CHECK(train(2, closed) == one);
  CHECK(train(4, closed) == one);
  CHECK(train(1) != one);
}

TEST_CASE("heads of patches and boxes give the same bits on 1, 2 and 4 ranks", "[ranks]") {
  const std::vector<std::string> head = {
      "detection.memory=patches+language", "detection.cross_attention=boxes",
      "detection.neck_layers=1",           "detection.one_to_many=4",
      "detection.labels=closed",           "loss.objectness_target=iou"};
  const RunResult one = train(1, head);
  CHECK(train(2, head) == one);
  CHECK(train(4, head) == one);
  CHECK(train(1) != one);
}

TEST_CASE("negative control: another order of the same samples gives other bits", "[ranks]") {
  CHECK(train(2, {"run.seed=1"}).parameters != train(2).parameters);
}
