// The names that safetensors files give to dtypes.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <string_view>

namespace muster::model {

std::optional<at::ScalarType> dtype_of_name(std::string_view name);  // "BF16"
// Throws CheckpointError when the format has none.
std::string name_of_dtype(at::ScalarType dtype);

}  // namespace muster::model
