#include "model/head/one_to_many.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <set>

namespace muster::model {
namespace {

using Catch::Approx;

// A row of `count` tokens at y 0.5, each with a box of its own and objectness 1/2.
struct Row {
  Predictions cpu;
  at::Tensor centres;
  PredictionSet set;
  explicit Row(const std::vector<Box>& boxes) {
    const auto count = static_cast<std::int64_t>(boxes.size());
    cpu.boxes = at::empty({count, 4});
    cpu.logits = at::zeros({count});
    centres = at::full({1, count, 2}, 0.5f);
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t k = 0; k < 4; ++k) cpu.boxes[i][k] = boxes[i][k];
      centres[0][i][0] = (static_cast<float>(i) + 0.5f) / static_cast<float>(count);
    }
    set.width = count;
    set.counts = {count};
  }
  std::vector<Match> match(const std::vector<float>& truths, std::int64_t per_object) const {
    const auto objects = static_cast<std::int64_t>(truths.size()) / 4;
    const std::vector<ImageTargets> targets{{at::tensor(truths).view({objects, 4}),
                                             std::vector<std::vector<std::int64_t>>(objects, {1}),
                                             std::vector<std::int64_t>(objects, 0)}};
    return match_many(cpu, set, targets, centres, per_object);
  }
};

TEST_CASE("one to many: the tokens inside that agree most, the best with its IoU", "[unit]") {
  // The object covers tokens 0 to 2 of 4 (x 0 to 0.75); token 3's box is perfect but lies outside.
  const Box truth{0.375f, 0.5f, 0.75f, 0.4f};
  Box half = truth, two_thirds = truth;
  half[2] *= 0.5f;  // same centre: IoU 1/2
  two_thirds[2] *= 2.0f / 3.0f;
  const Row row({half, two_thirds, half, truth});
  const auto matches = row.match({truth[0], truth[1], truth[2], truth[3]}, 2);
  REQUIRE(matches.size() == 2);
  CHECK(matches[0].row == 0);  // of two that agree as much, the earlier
  CHECK(matches[1].row == 1);
  CHECK(matches[1].weight == Approx(2.0 / 3));
  // Agreement is sqrt(1/2) * IoU^4: the other has (1/2)^4 / (2/3)^4 of the best's.
  CHECK(matches[0].weight == Approx(2.0 / 3 * std::pow(0.75, 4)));
}

TEST_CASE("one to many: a token of two objects goes to the one it overlaps more", "[unit]") {
  const Box small{0.5f, 0.5f, 0.4f, 0.4f}, large{0.5f, 0.5f, 0.8f, 0.8f};
  const Row row({large, small, small, large});
  const auto matches = row.match({0.5f, 0.5f, 0.4f, 0.4f, 0.5f, 0.5f, 0.8f, 0.8f}, 4);
  std::set<std::int64_t> rows;
  for (const Match& match : matches) {
    CHECK(rows.insert(match.row).second);
    CHECK(match.object == (match.row == 1 || match.row == 2 ? 0 : 1));
    CHECK(match.weight == Approx(1));
  }
  CHECK(matches.size() == 4);
}

TEST_CASE("one to many: an object smaller than a token has the nearest", "[unit]") {
  const Box box{0.42f, 0.5f, 0.1f, 0.1f};
  const Row row({box, box, box, box});
  const auto matches = row.match({0.45f, 0.5f, 0.1f, 0.1f}, 3);
  REQUIRE(matches.size() == 1);
  CHECK(matches[0].row == 1);
}

TEST_CASE("one to many: nothing for boxes that are not finite", "[fault]") {
  Row row({Box{0.5f, 0.5f, 1, 1}, Box{0.5f, 0.5f, 1, 1}});
  CHECK(row.match({0.5f, 0.5f, 0.9f, 0.9f}, 2).size() == 2);
  row.cpu.logits[1] = std::numeric_limits<float>::quiet_NaN();
  CHECK(row.match({0.5f, 0.5f, 0.9f, 0.9f}, 2).empty());
}

}  // namespace
}  // namespace muster::model
