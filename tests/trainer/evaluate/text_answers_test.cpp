#include "trainer/evaluate/text_answers.h"

#include <catch2/catch_test_macros.hpp>

namespace muster::trainer {
namespace {

using data::AnswerFormat;

// One picture of 200 x 100 that is seen as 100 x 50.
AnswerScale half_size(AnswerFormat form) {
  return {.form = form,
          .stored = {{.height = 100, .width = 200}},
          .resized = {{.height = 50, .width = 100}}};
}

TEST_CASE("answers: boxes are of the resized picture, or of 1000 x 1000, as data.answer says",
          "[unit]") {
  const char* answer =
      "```json\n[\n\t{\"bbox_2d\": [10, 10, 50, 25], \"label\": \"cell\"},\n"
      "\t{\"bbox_2d\": [0, 0, 100, 50], \"label\": \"dish\"}\n]\n```";
  const AnsweredBoxes pixels = read_boxes(answer, half_size(AnswerFormat::kJson));
  REQUIRE(pixels.boxes.size() == 2);
  CHECK_FALSE(pixels.malformed);
  CHECK(pixels.boxes[0].box == std::array<float, 4>{20, 20, 100, 50});
  CHECK(pixels.boxes[0].caption == "cell");
  CHECK(pixels.boxes[1].box == std::array<float, 4>{0, 0, 200, 100});
  const AnsweredBoxes thousandths = read_boxes(answer, half_size(AnswerFormat::kJson1000));
  CHECK(thousandths.boxes[0].box == std::array<float, 4>{2, 1, 10, 2.5});
}

TEST_CASE("answers: none is a list, too; words, cut lists and impossible boxes are malformed",
          "[unit]") {
  const AnswerScale scale = half_size(AnswerFormat::kJson);
  const AnsweredBoxes none = read_boxes("```json\n[]\n```", scale);
  CHECK_FALSE(none.malformed);
  CHECK(none.boxes.empty());
  for (const char* answer :
       {"There is a cell.", "", "```json\n[\n\t{\"bbox_2d\": [10, 10, 50, 25], \"label\": \"ce",
        "[{\"bbox_2d\": [10, 10, 50], \"label\": \"cell\"}]"}) {
    INFO(answer);
    const AnsweredBoxes read = read_boxes(answer, scale);
    CHECK(read.malformed);
    CHECK(read.boxes.empty());
  }
  // What can be used of an answer is used.
  const AnsweredBoxes half = read_boxes(
      "[{\"bbox_2d\": [50, 10, 10, 25], \"label\": \"cell\"},"
      "{\"bbox_2d\": [10, 10, 50, 25], \"label\": \"cell\"}]",
      scale);
  CHECK(half.malformed);
  CHECK(half.boxes.size() == 1);
}

}  // namespace
}  // namespace muster::trainer
