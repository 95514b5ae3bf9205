#include "data/sources/parse/geometry.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

namespace muster::data {

using Catch::Matchers::WithinAbs;

TEST_CASE("geometry: boxes around points and turned rectangles", "[unit]") {
  CHECK(box_around(std::vector<double>{3, 9, 1, 4, 7, 5}) == Box{1, 4, 7, 9});
  CHECK(box_of_turned(1, 2, 10, 4, 0) == Box{1, 2, 11, 6});
  const Box quarter = box_of_turned(10, 10, 4, 2, 90);  // around its top left corner, clockwise
  for (std::size_t i = 0; i < 4; ++i)
    CHECK_THAT(quarter[i], WithinAbs((Box{8, 10, 10, 14})[i], 1e-9));
}

TEST_CASE("geometry: run lengths as COCO writes them", "[unit]") {
  // A picture 4 high and 5 wide; counted down the columns: rows 1..2 of columns 1..2.
  const std::vector<std::int64_t> block{5, 2, 2, 2, 9};
  CHECK(run_length_box(block, 4, 5) == Box{1, 1, 3, 3});
  CHECK(run_length_box(std::vector<std::int64_t>{2, 5, 13}, 4, 5) ==
        Box{0, 0, 2, 4});  // two columns
  CHECK(run_length_box(std::vector<std::int64_t>{0, 20}, 4, 5) == Box{0, 0, 5, 4});
  CHECK_FALSE(run_length_box(std::vector<std::int64_t>{20}, 4, 5));
  CHECK_FALSE(run_length_box(std::vector<std::int64_t>{5, 99}, 4, 5));
  CHECK_FALSE(run_length_box(std::vector<std::int64_t>{-5, 9}, 4, 5));
  CHECK_FALSE(run_length_box(block, 0, 5));
}

TEST_CASE("geometry: run lengths as COCO compresses them", "[unit]") {
  // 5 2 2 2 9: the differences from the one before the last, from the fourth on: 5 2 2 0 7.
  CHECK(decompress_run_lengths("52207") == std::vector<std::int64_t>{5, 2, 2, 2, 9});
  // 100 takes two digits: 4 + 32 (more follows), then 3.
  CHECK(decompress_run_lengths("T3") == std::vector<std::int64_t>{100});
  // A negative difference: 9 9 9 and -4 after 9 is 5.
  CHECK(decompress_run_lengths("999L") == std::vector<std::int64_t>{9, 9, 9, 5});
  CHECK_FALSE(decompress_run_lengths("T"));
  CHECK_FALSE(decompress_run_lengths("\x01"));
  CHECK_FALSE(decompress_run_lengths("oooooooooooooooo"));
}

}  // namespace muster::data
