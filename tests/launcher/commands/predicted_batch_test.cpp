#include "launcher/commands/predicted_batch.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster;

TEST_CASE("a predicted batch arrives bit by bit, captions that are no UTF-8 too", "[unit]") {
  launcher::PredictedBatch batch;
  batch.bad = {"a.jpg: cut short"};
  batch.turned = {"b.jpg"};
  batch.images.push_back({.image = "b.jpg", .width = 640, .height = 480, .overlay = "b.png"});
  batch.images.back().kept = {{{0.1f, 1.0f / 3, 639.99994f, 480},
                               0.1f,
                               "r\xff"
                               "ed",
                               -1},
                              {{0, 0, 1, 1}, 1e-30f, "", 7}};
  batch.images.push_back({.image = "c.jpg", .width = 1, .height = 1, .prompt = "What?"});
  const launcher::PredictedBatch read = launcher::batch_from_bytes(launcher::batch_to_bytes(batch));
  CHECK(read.bad == batch.bad);
  CHECK(read.turned == batch.turned);
  REQUIRE(read.images.size() == 2);
  CHECK(read.images[0].overlay == "b.png");
  CHECK(read.images[1].prompt == "What?");
  REQUIRE(read.images[0].kept.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& expected = batch.images[0].kept[i];
    const auto& got = read.images[0].kept[i];
    CHECK(got.box == expected.box);
    CHECK(got.score == expected.score);
    CHECK(got.caption == expected.caption);
    CHECK(got.category_id == expected.category_id);
  }
}
