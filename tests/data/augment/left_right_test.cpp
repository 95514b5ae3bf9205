#include "data/augment/left_right.h"

#include <catch2/catch_test_macros.hpp>

namespace muster::data {

TEST_CASE("left and right change places as whole words, in their case", "[unit]") {
  CHECK(swap_left_right("the left hand") == "the right hand");
  CHECK(swap_left_right("Left of the RIGHT one, right?") == "Right of the LEFT one, left?");
  CHECK(swap_left_right("left_arm, left-turn, left2right") == "right_arm, right-turn, right2left");
  CHECK(swap_left_right("leftmost Rightmost leftward RIGHTWARDS") ==
        "rightmost Leftmost rightward LEFTWARDS");
  for (const char* same : {"bright", "leftover", "rights", "upright", "", "link\xc3\xa9left"})
    CHECK(swap_left_right(same) == same);
  for (const char* text : {"left", "the Rightmost", "a right-hand glove"}) {
    CHECK(says_left_or_right(text));
    CHECK(swap_left_right(swap_left_right(text)) == text);
  }
  CHECK_FALSE(says_left_or_right("bright leftovers"));
}

}  // namespace muster::data
