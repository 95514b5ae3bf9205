// The assignment problem by shortest augmenting paths with dual variables (Jonker and Volgenant,
// Computing 38, 1987).
#include "model/head/matcher.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace muster::model {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_costs(const std::vector<float>& cost, std::int64_t rows, std::int64_t columns) {
  TORCH_CHECK(rows >= 0 && rows <= columns, "assign: ", rows, " rows do not fit ", columns,
              " columns");
  TORCH_CHECK(static_cast<std::int64_t>(cost.size()) == rows * columns, "assign: ", cost.size(),
              " costs for ", rows, " x ", columns);
  for (std::size_t i = 0; i < cost.size(); ++i) {
    if (std::isfinite(cost[i])) continue;
    const auto entry = static_cast<std::int64_t>(i);
    throw NumericError(fmt::format(
        "matching cost of row {} and column {} is {}: the network's boxes or scores are not finite",
        entry / columns, entry % columns, cost[i]));
  }
}

// Column 0 is a virtual start; columns and rows are counted from 1 inside.
class Assignment {
 public:
  Assignment(const std::vector<float>& cost, std::int64_t rows, std::int64_t columns)
      : cost_(cost),
        columns_(columns),
        row_dual_(rows + 1),
        column_dual_(columns + 1),
        row_of_(columns + 1),
        previous_(columns + 1) {}

  void add_row(std::int64_t row) {
    row_of_[0] = row;
    for (std::int64_t column = shortest_path(); column != 0; column = previous_[column]) {
      row_of_[column] = row_of_[previous_[column]];
    }
  }

  const std::vector<std::int64_t>& row_of() const { return row_of_; }

 private:
  // Grows a tree of tight edges from column 0 until it meets a free column; strict comparisons keep
  // the smaller index. At the loop's entry the tree's edges are tight, `column` is its newest, and
  // distance[] is what an edge from the tree to each column outside is short of that.
  std::int64_t shortest_path() {
    std::vector<double> distance(columns_ + 1, kInfinity);
    std::vector<char> in_tree(columns_ + 1, 0);
    std::int64_t column = 0;
    while (row_of_[column] != 0) {
      in_tree[column] = 1;
      const std::int64_t next = relax(column, in_tree, distance);
      shift_duals(distance[next], in_tree, distance);
      column = next;
    }
    return column;
  }

  std::int64_t relax(std::int64_t from, const std::vector<char>& in_tree,
                     std::vector<double>& distance) {
    const std::int64_t row = row_of_[from];
    std::int64_t nearest = 0;
    for (std::int64_t column = 1; column <= columns_; ++column) {
      if (in_tree[column]) continue;
      const double reduced =
          cost_[(row - 1) * columns_ + column - 1] - row_dual_[row] - column_dual_[column];
      if (reduced < distance[column]) {
        distance[column] = reduced;
        previous_[column] = from;
      }
      if (nearest == 0 || distance[column] < distance[nearest]) nearest = column;
    }
    return nearest;
  }

  void shift_duals(double delta, const std::vector<char>& in_tree, std::vector<double>& distance) {
    for (std::int64_t column = 0; column <= columns_; ++column) {
      if (in_tree[column]) {
        row_dual_[row_of_[column]] += delta;
        column_dual_[column] -= delta;
      } else {
        distance[column] -= delta;
      }
    }
  }

  const std::vector<float>& cost_;
  std::int64_t columns_;
  std::vector<double> row_dual_, column_dual_;
  std::vector<std::int64_t> row_of_;    // per column, 0 when free
  std::vector<std::int64_t> previous_;  // per column, the column before it on the path
};

}  // namespace

std::vector<std::int64_t> assign(const std::vector<float>& cost, std::int64_t rows,
                                 std::int64_t columns) {
  check_costs(cost, rows, columns);
  Assignment assignment(cost, rows, columns);
  for (std::int64_t row = 1; row <= rows; ++row) assignment.add_row(row);
  std::vector<std::int64_t> column_of(rows);
  for (std::int64_t column = 1; column <= columns; ++column) {
    if (const std::int64_t row = assignment.row_of()[column]; row != 0)
      column_of[row - 1] = column - 1;
  }
  return column_of;
}

}  // namespace muster::model
