// These bring what the host made to the device that computes. It goes through pinned memory, so
// that nothing waits: a plain .to() stops the host until the device has done all that was queued
// before. On the CPU the tensors themselves are returned.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace muster::model {

at::Tensor upload(const at::Tensor& host, at::Device device);
at::Tensor upload(const std::vector<std::int64_t>& values, at::Device device);  // [n] i64

}  // namespace muster::model
