// The kernels' launchers: raw device pointers and a stream, no LibTorch. Same arithmetic as
// sharding/kernels/kernels_cpu.cpp, element by element, so that CPU and GPU give the same bits.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "sharding/kernels/adamw_types.h"

namespace muster::sharding::cuda {

using Type = Element;

void to_wire(const void* gradient, Type gradient_type, void* wire, Type wire_type, std::int64_t n,
             bool add, std::uint8_t* nonfinite, cudaStream_t stream);
// Row r of `wire` begins at r * stride. `fresh`: acc counts as 0, and is not read.
void accumulate(const void* wire, Type wire_type, int ranks, std::int64_t stride, float* acc,
                std::int64_t n, bool fresh, cudaStream_t stream);
// acc += the tree of the rows, `ranks` being a power of two up to 32 (Kernels::add_tree).
void add_tree(const void* wire, Type wire_type, int ranks, std::int64_t stride, float* acc,
              std::int64_t n, bool fresh, cudaStream_t stream);
// limbs: ExactSum's, int64; added to with integer atomics, so the order of blocks does not matter.
// Carries are left to the reader: room for 2^35 elements.
void add_squares(const float* values, std::int64_t n, std::int64_t* limbs, std::uint8_t* nonfinite,
                 cudaStream_t stream);
void adamw(const AdamWSpans& spans, const AdamWFactors& factors, cudaStream_t stream);

}  // namespace muster::sharding::cuda
