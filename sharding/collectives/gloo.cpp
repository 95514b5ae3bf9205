#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "sharding/collectives/c10d.h"

namespace muster::sharding {
namespace {

using c10d::ProcessGroupGloo;

// The interface Gloo listens on: the one named by GLOO_SOCKET_IFNAME, the loopback for a run on one
// machine, else the one this machine's host name resolves to.
std::shared_ptr<::gloo::transport::Device> listen_device(const std::string& host) {
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME"); name != nullptr && *name != '\0') {
    return ProcessGroupGloo::createDeviceForInterface(name);
  }
  if (host == "127.0.0.1" || host == "localhost")
    return ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

std::unique_ptr<Collective> make_gloo(const StoreAddress& store, int rank, int size,
                                      std::chrono::duration<double> timeout) {
  const C10dAddress address{.store = store, .rank = rank, .size = size, .timeout = timeout};
  return connect_c10d(
      address,
      {.name = "gloo",
       .device = c10::kCPU,
       .finish = [](c10d::Work& work) { work.wait(); },
       .reduce_scatter_cost = 2,  // LibTorch's is a clone, an all-reduce and a slice of it
       .gather_by_broadcast = true},
      [&](const c10::intrusive_ptr<c10d::Store>& door) {
        const auto options = ProcessGroupGloo::Options::create(address.limit());
        options->devices.push_back(listen_device(store.host));
        return c10::make_intrusive<ProcessGroupGloo>(door, rank, size, options);
      });
}

}  // namespace muster::sharding
