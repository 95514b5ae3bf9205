#include "model/files/safetensors_dtype.h"

#include <utility>

#include "base/error.h"

namespace muster::model {
namespace {

constexpr std::pair<const char*, at::ScalarType> kDtypes[] = {{"F64", at::kDouble},
                                                              {"F32", at::kFloat},
                                                              {"F16", at::kHalf},
                                                              {"BF16", at::kBFloat16},
                                                              {"I64", at::kLong},
                                                              {"I32", at::kInt},
                                                              {"I16", at::kShort},
                                                              {"I8", at::kChar},
                                                              {"U8", at::kByte},
                                                              {"BOOL", at::kBool},
                                                              {"U16", at::kUInt16},
                                                              {"U32", at::kUInt32},
                                                              {"U64", at::kUInt64},
                                                              {"F8_E4M3", at::kFloat8_e4m3fn},
                                                              {"F8_E5M2", at::kFloat8_e5m2}};

}  // namespace

std::optional<at::ScalarType> dtype_of_name(std::string_view name) {
  for (const auto& [key, dtype] : kDtypes) {
    if (name == key) return dtype;
  }
  return std::nullopt;
}

std::string name_of_dtype(at::ScalarType dtype) {
  for (const auto& [key, known] : kDtypes) {
    if (dtype == known) return key;
  }
  throw CheckpointError(std::string("safetensors has no dtype for ") + c10::toString(dtype));
}

}  // namespace muster::model
