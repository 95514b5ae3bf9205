// Any c10d backend as a Collective. Only bytes and int64 sums reach it: low-precision values are
// never added there.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "sharding/collectives/collective.h"

namespace c10d {
class Backend;
class Store;
class Work;
}  // namespace c10d

namespace muster::sharding {

struct C10dOptions {
  std::string name;                // "gloo", "nccl"
  c10::Device device = c10::kCPU;  // where the byte buffers lie
  // Blocks until the work is done on the device. Work::wait() of NCCL only orders streams; Gloo's
  // blocks the host.
  std::function<void(c10d::Work&)> finish;
  // What the backend's reduce-scatter sends, of what a real one would.
  int reduce_scatter_cost = 1;
  // Gloo's own all-gather copies, and is slower than one broadcast per rank.
  bool gather_by_broadcast = false;
};

struct C10dAddress {
  StoreAddress store;
  int rank = 0, size = 1;
  std::chrono::duration<double> timeout{};

  std::chrono::milliseconds limit() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
  }
};
using MakeBackend =
    std::function<c10::intrusive_ptr<c10d::Backend>(const c10::intrusive_ptr<c10d::Store>& store)>;

// [C] CollectiveError when the ranks do not find each other.
std::unique_ptr<Collective> connect_c10d(const C10dAddress& address, C10dOptions options,
                                         const MakeBackend& make);

}  // namespace muster::sharding
