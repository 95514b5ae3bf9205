// What is odd about a set although every sample of it can be used (diary rows D-005 and D-012).
#pragma once

#include <string>
#include <vector>

#include "data/pack/sample.h"

namespace muster::data {

// One line each. `pixels`: the source's boxes are numbers of pixels of the stored picture.
std::vector<std::string> oddities(const std::vector<Sample>& samples, bool pixels);

// Of a set of pixels some of whose boxes lie outside: a hint at --boxes when all coordinates are
// thousandths by their looks, else "".
std::string frame_hint(const std::vector<Sample>& bad, const std::vector<Sample>& good);

}  // namespace muster::data
