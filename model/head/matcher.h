// Which query answers for which object.
#pragma once

#include <cstdint>
#include <vector>

namespace muster::model {

// Minimum-cost assignment of rows to columns, rows <= columns; ties resolved towards smaller
// indices, NaN is a NumericError naming the entry. cost is row-major [rows, columns]. Returns the
// column of each row. (Jonker and Volgenant's shortest augmenting paths, O(rows^2 columns).)
std::vector<std::int64_t> assign(const std::vector<float>& cost, std::int64_t rows,
                                 std::int64_t columns);

}  // namespace muster::model
