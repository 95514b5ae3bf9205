#include <fmt/format.h>

#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "base/error.h"
#include "sharding/collective_c10d.h"

namespace muster::sharding {
namespace {

using c10d::ProcessGroupGloo;

// The interface Gloo listens on: the one named by GLOO_SOCKET_IFNAME, the loopback for a run on one machine, else the
// one this machine's host name resolves to.
std::shared_ptr<::gloo::transport::Device> listen_device(const std::string& host) {
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME"); name != nullptr && *name != '\0') {
    return ProcessGroupGloo::createDeviceForInterface(name);
  }
  if (host == "127.0.0.1" || host == "localhost") return ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  return ProcessGroupGloo::createDefaultDevice();
}

}  // namespace

std::unique_ptr<Collective> make_gloo(const std::string& host, int port, int rank, int size,
                                      std::chrono::duration<double> timeout) {
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
  try {
    c10d::TCPStoreOptions store_options;
    store_options.port = static_cast<std::uint16_t>(port);
    store_options.isServer = rank == 0;
    store_options.numWorkers = static_cast<std::size_t>(size);
    store_options.timeout = limit;
    const auto store = c10::make_intrusive<c10d::TCPStore>(host, store_options);
    const auto options = ProcessGroupGloo::Options::create(limit);
    options->devices.push_back(listen_device(host));
    const auto group = c10::make_intrusive<ProcessGroupGloo>(store, rank, size, options);
    return wrap_c10d(group, {.name = "gloo",
                             .device = c10::kCPU,
                             .finish = [](c10d::Work& work) { work.wait(); },
                             .gather_by_broadcast = true});
  } catch (const c10::Error& e) {
    throw CollectiveError(fmt::format("gloo: rank {} of {} found no way to the others through {}:{}: {}", rank, size,
                                      host, port, e.what_without_backtrace()));
  }
}

}  // namespace muster::sharding
