#include "trainer/checkpoint/shares.h"

#include <catch2/catch_test_macros.hpp>

using muster::trainer::even_shares;
using muster::trainer::kAnyRank;

TEST_CASE("every piece has one rank, and ranks have about the same", "[unit]") {
  CHECK(even_shares({}, 3).empty());
  CHECK(even_shares({5, 5, 5, 5}, 1) == std::vector<int>{0, 0, 0, 0});
  CHECK(even_shares({1, 2, 3, 6}, 2) == std::vector<int>{1, 1, 1, 0});
  CHECK(even_shares({7}, 4) == std::vector<int>{0});
}

TEST_CASE("a piece's wish is kept, and the others even it out", "[unit]") {
  CHECK(even_shares({4, 4, 4}, 2, {1, kAnyRank, kAnyRank}) == std::vector<int>{1, 0, 0});
  CHECK(even_shares({9, 1, 1}, 2, {1, 1, kAnyRank}) == std::vector<int>{1, 1, 0});
}
