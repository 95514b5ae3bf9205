// assign() against brute force over every injection of rows into columns.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "model/head/matcher.h"

namespace muster::model {
namespace {

double total(const std::vector<float>& cost, std::int64_t columns,
             const std::vector<std::int64_t>& column_of) {
  double sum = 0;
  for (std::size_t row = 0; row < column_of.size(); ++row)
    sum += cost[row * columns + column_of[row]];
  return sum;
}

double cheapest(const std::vector<float>& cost, std::int64_t rows, std::int64_t columns) {
  std::vector<std::int64_t> order(columns);
  std::iota(order.begin(), order.end(), 0);
  double best = std::numeric_limits<double>::infinity();
  do {
    best = std::min(best, total(cost, columns, {order.begin(), order.begin() + rows}));
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

// Few distinct whole numbers, so that sums are exact and ties are common.
std::vector<float> random_costs(Rng& rng, std::int64_t count, std::int64_t values) {
  std::vector<float> cost(count);
  const std::int64_t middle = values / 2;
  for (float& entry : cost) entry = static_cast<float>(rng.below(values) - middle);
  return cost;
}

TEST_CASE("assign finds the cheapest assignment", "[unit]") {
  Rng rng(7);
  for (std::int64_t columns = 0; columns <= 6; ++columns) {
    for (std::int64_t rows = 0; rows <= columns; ++rows) {
      for (int trial = 0; trial < 30; ++trial) {
        const std::vector<float> cost = random_costs(rng, rows * columns, trial % 2 ? 4 : 1000);
        const std::vector<std::int64_t> column_of = assign(cost, rows, columns);
        CHECK(std::set(column_of.begin(), column_of.end()).size() ==
              static_cast<std::size_t>(rows));
        CHECK(total(cost, columns, column_of) == cheapest(cost, rows, columns));
      }
    }
  }
}

TEST_CASE("the cheapest in each row is not enough", "[unit]") {
  const std::vector<float> cost{1, 2, 1, 9};  // both rows like column 0
  CHECK(assign(cost, 2, 2) == std::vector<std::int64_t>{1, 0});
}

TEST_CASE("ties go to smaller indices", "[unit]") {
  CHECK(assign(std::vector<float>(3 * 5, 2.5f), 3, 5) == std::vector<std::int64_t>{0, 1, 2});
  CHECK(assign({5, 1, 1, 1}, 1, 4) == std::vector<std::int64_t>{1});
  CHECK(assign({3, 1, 1, 7, 1, 1}, 2, 3) == std::vector<std::int64_t>{1, 2});
}

TEST_CASE("a permutation of the columns permutes the assignment", "[unit]") {
  Rng rng(11);
  std::vector<float> cost(4 * 9);
  for (float& entry : cost) entry = static_cast<float>(rng.normal());
  std::vector<std::int64_t> order(9);
  std::iota(order.begin(), order.end(), 0);
  rng.shuffle(order);
  std::vector<float> moved(cost.size());
  for (std::size_t row = 0; row < 4; ++row) {
    for (std::size_t column = 0; column < 9; ++column)
      moved[row * 9 + column] = cost[row * 9 + order[column]];
  }
  std::vector<std::int64_t> expected = assign(cost, 4, 9), got = assign(moved, 4, 9);
  for (std::int64_t& column : got) column = order[column];
  CHECK(got == expected);
}

TEST_CASE("a cost that is not a number is named", "[unit]") {
  std::vector<float> cost(2 * 3, 1.0f);
  cost[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(assign(cost, 2, 3), NumericError);
  CHECK_THROWS_WITH(assign(cost, 2, 3), Catch::Matchers::ContainsSubstring("row 1 and column 2"));
}

}  // namespace
}  // namespace muster::model
