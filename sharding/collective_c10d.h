// Any c10d backend as a Collective. Only bytes and int64 sums reach it: low-precision values are never added there.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <functional>
#include <memory>
#include <string>

#include "sharding/collective.h"

namespace c10d {
class Backend;
class Work;
}  // namespace c10d

namespace muster::sharding {

struct C10dOptions {
  std::string name;                // "gloo", "nccl"
  c10::Device device = c10::kCPU;  // where the byte buffers lie
  // Blocks until the work is done on the device. Work::wait() of NCCL only orders streams; Gloo's blocks the host.
  std::function<void(c10d::Work&)> finish;
  bool gather_by_broadcast = false;  // Gloo's own all-gather copies, and is slower than one broadcast per rank
};

std::unique_ptr<Collective> wrap_c10d(const c10::intrusive_ptr<c10d::Backend>& backend, C10dOptions options);

}  // namespace muster::sharding
