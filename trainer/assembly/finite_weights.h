// Weights that were read hold numbers: NaN or infinity there is a fault of the file, and is said
// before a loss becomes NaN.
#pragma once

#include <string>
#include <vector>

#include "model/detector.h"

namespace muster::trainer {

// Throws DataError naming the tensors that hold what is not finite, and how many values; `where`
// they were read from.
void require_finite(const std::vector<model::NamedParam>& weights, const std::string& where);

}  // namespace muster::trainer
