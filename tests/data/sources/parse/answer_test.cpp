#include "data/sources/parse/answer.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

// The label and first box of each object; "words" for an answer that lists none.
std::string told(const std::string& text, const std::string& default_label = "") {
  const Answer answer = read_answer(text, default_label);
  if (!answer.lists_objects) return "words";
  std::string all = answer.thousandths ? "thousandths" : "boxes";
  for (const ListedEntry& entry : answer.entries) {
    if (!entry.fault.empty()) all += " !" + entry.fault;
    for (const ListedObject& object : entry.objects)
      all += " " + object.label + "@" + std::to_string(static_cast<int>(object.box[0])) + "," +
             std::to_string(static_cast<int>(object.box[1])) + "," +
             std::to_string(static_cast<int>(object.box[2])) + "," +
             std::to_string(static_cast<int>(object.box[3]));
  }
  return all + (answer.words ? " +words" : "");
}

}  // namespace

TEST_CASE("answers: lists of boxes in every dress", "[unit]") {
  const std::string one = R"({"bbox_2d": [1, 2, 3, 4], "label": "cat"})";
  const std::string two = R"({"bbox_2d": [5, 6, 7, 8], "label": "dog"})";
  CHECK(told("[" + one + "]") == "boxes cat@1,2,3,4");
  CHECK(told(one) == "boxes cat@1,2,3,4");
  CHECK(told("```json\n[" + one + ", " + two + "]\n```") == "boxes cat@1,2,3,4 dog@5,6,7,8");
  CHECK(told("```\n" + one + "\n```") == "boxes cat@1,2,3,4");
  CHECK(told("```json [" + one + "]```") == "boxes cat@1,2,3,4");
  CHECK(told("Here they are:\n```json\n[" + one + "]\n```\nas asked") ==
        "boxes cat@1,2,3,4 +words");
  CHECK(told("The boxes: [" + one + "].") == "boxes cat@1,2,3,4 +words");
  CHECK(told(one + "\n" + two) == "boxes cat@1,2,3,4 dog@5,6,7,8");
  CHECK(told(R"({"objects": [{"bbox": [1,2,3,4], "label": "cat"}]})") == "boxes cat@1,2,3,4");
  CHECK(told("[{'bbox_2d': [1, 2, 3, 4], 'label': 'cat\\'s', 'seen': True, 'sub': None},]") ==
        "boxes cat's@1,2,3,4");
  CHECK(told("[{'bbox_2d': (1, 2, 3, 4), 'label': \"it's\"}]") == "boxes it's@1,2,3,4");
  CHECK(told("[]") == "boxes");
  CHECK(told("```json\n[]\n```") == "boxes");
}

TEST_CASE("answers: the forms of one box", "[unit]") {
  const auto box = [](const std::string& value) {
    return told("[{\"bbox_2d\": " + value + ", \"label\": \"c\"}]");
  };
  CHECK(box("[[1,2,3,4]]") == "boxes c@1,2,3,4");
  CHECK(box("[[1,2,3,4],[5,6,7,8]]") == "boxes c@1,2,3,4 c@5,6,7,8");
  CHECK(box(R"(["1","2","3","4"])") == "boxes c@1,2,3,4");
  CHECK(box(R"({"x1":1,"y1":2,"x2":3,"y2":4})") == "boxes c@1,2,3,4");
  CHECK_THAT(box("[1,2,3]"), ContainsSubstring("!a box of 3 numbers"));
  CHECK_THAT(box("\"here\""), ContainsSubstring("!the box \"here\""));
  CHECK_THAT(told(R"([{"bbox_2d": [1,2,3,4]}])"), ContainsSubstring("!an object without a label"));
  CHECK_THAT(told(R"([{"bbox_2d": [1,2,3,4], "label": "a"}, {"label": "b"}])"),
             ContainsSubstring("!an object without a box"));
}

TEST_CASE("answers: words stay words", "[unit]") {
  for (const char* words : {"A red box and a blue disc.", "", "see [1] and {2}", "[1, 2, 3, 4]",
                            R"([{"point_2d": [10, 20], "label": "tip"}])",
                            "```python\nprint()\n```", "There are none: []", "it is bbox shaped"})
    CHECK(told(words) == "words");
}

TEST_CASE("answers: boxes that cannot be read are faults, not words", "[fault]") {
  for (const char* bad : {R"([{"bbox_2d": [1,2,3,4])", R"(```json
[{"bbox_2d": [1,2,3,4], "label": "a"}])",
                          R"([{"bbox_2d": [1,2,3,4}, "label": "a"}])", R"(["bbox_2d)"})
    CHECK_THROWS_AS(read_answer(bad, ""), DataError);
  CHECK_THROWS_MATCHES(read_answer("```json\n[{\"bbox_2d\": [1]}", ""), DataError,
                       MessageMatches(ContainsSubstring("fence is not closed")));
}

TEST_CASE("answers: Qwen2-VL's box tokens", "[unit]") {
  CHECK(
      told("<|object_ref_start|>cat<|object_ref_end|><|box_start|>(62,83),(375,416)<|box_end|>") ==
      "thousandths cat@62,83,375,416");
  CHECK(
      told("<|object_ref_start|>a dog<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|> and "
           "<|object_ref_start|>a man<|object_ref_end|><|box_start|>(5,6),(7,8)<|box_end|> play") ==
      "thousandths a dog@1,2,3,4 a man@5,6,7,8 +words");
  CHECK(told("<|box_start|>(1,2),(3,4)<|box_end|><|box_start|>(5,6),(7,8)<|box_end|>", "sheep") ==
        "thousandths sheep@1,2,3,4 sheep@5,6,7,8");
  CHECK(told("<ref>cat</ref><box>(1,2),(3,4)</box>") == "thousandths cat@1,2,3,4");
  CHECK(told("<ref>sign</ref><quad>(1,5),(4,2),(9,6),(5,8)</quad>") == "thousandths sign@1,2,9,8");
  CHECK_THAT(told("<|box_start|>(1,2),(3,4)<|box_end|>"),
             ContainsSubstring("!a box without a name"));
  CHECK_THAT(told("click(<|box_start|>(246,113)<|box_end|>)", "x"),
             ContainsSubstring("!'(246,113)' between box tokens"));
  const MarkedWords words =
      without_name_marks("Find the <|object_ref_start|>sheep<|object_ref_end|> here < now");
  CHECK((words.text == "Find the sheep here < now" && words.name == "sheep" && words.marked));
}

TEST_CASE("answers: the work is linear in the text", "[unit]") {
  std::string brackets(200000, '[');
  CHECK(told("no boxes " + brackets) == "words");
  CHECK_THROWS_AS(read_answer(brackets + "bbox_2d", ""), DataError);
  std::string many = "[";
  for (int i = 0; i < 20000; ++i) many += R"({"bbox_2d": [1,2,3,4], "label": "a"},)";
  CHECK(read_answer(many + "]", "").entries.size() == 20000);
}

}  // namespace muster::data
