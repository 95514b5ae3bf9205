#include "trainer/evaluate/coco_text.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace muster::trainer {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("what cannot be measured reads n/a", "[unit]") {
  const CocoGroundTruth truth{
      {1}, {{1, "cell"}, {2, "rare"}}, {{.image_id = 1, .category_id = 1, .xywh = {1, 1, 9, 9}}}};
  const std::string text = metrics_text(evaluate_coco(truth, {}));
  CHECK_THAT(text, ContainsSubstring("AP50   0.0000\n") && ContainsSubstring("APl    n/a\n"));
  CHECK_THAT(text, ContainsSubstring("AP of rare                 n/a\n"));
  CHECK_THAT(text, !ContainsSubstring("-1"));
}

TEST_CASE("an AP of 0 is explained on one line, however many classes there are", "[unit]") {
  CocoGroundTruth truth{{1}, {}, {}};
  for (std::int64_t id = 0; id < 80; ++id) {
    truth.categories[id] = "class-" + std::to_string(id);
    for (std::int64_t n = 0; n < id; ++n) truth.boxes.push_back({.image_id = 1, .category_id = id});
  }
  const std::string text = explain_zero(truth, {{79, 5}});
  CHECK(text.find('\n') == std::string::npos);
  CHECK(text.size() < 250);
  CHECK_THAT(text, ContainsSubstring("AP is 0: true and predicted boxes of class-79 79 and 5"));
  CHECK_THAT(text, ContainsSubstring("and 72 more classes"));
}

}  // namespace
}  // namespace muster::trainer
