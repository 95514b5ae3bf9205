// A part of the samples for validation, drawn by picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muster::data {

// `pictures[i]` are the checksums of the pictures that sample i shows. True for the samples of the
// validation part: `fraction` of the groups of samples that share pictures, rounded, at least one
// group and never all. A pure function of the arguments: neither paths nor the order of files
// count. REQUIRES 0 < fraction < 1. All samples of a picture, under whatever name, are on one side.
std::vector<bool> draw_validation(const std::vector<std::vector<std::string>>& pictures,
                                  double fraction, std::uint64_t seed);

}  // namespace muster::data
