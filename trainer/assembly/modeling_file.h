// The detector in PyTorch, for those who have transformers and no muster. It lies in the tree as
// model/python/modeling_muster.py; CMake copies it into the program (cmake/Rooms.cmake,
// muster_embed()).
#pragma once

#include <string_view>

namespace muster::trainer {

inline constexpr const char* kModelingName = "modeling_muster.py";
extern const std::string_view kModelingText;

}  // namespace muster::trainer
