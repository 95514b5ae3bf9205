#include "sharding/kernels/kernels.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"

namespace muster::sharding {
namespace {

using Factory = std::function<std::unique_ptr<Kernels>()>;

std::map<at::DeviceType, Factory>& factories() {
  static std::map<at::DeviceType, Factory> map{{at::kCPU, make_cpu_kernels}};
  return map;
}

}  // namespace

void register_kernels(at::DeviceType device, Factory make) {
  factories()[device] = std::move(make);
}

std::unique_ptr<Kernels> make_kernels(at::DeviceType device) {
  const auto found = factories().find(device);
  if (found == factories().end()) {
    throw ConfigError(
        fmt::format("parameters are on {}, and no optimizer kernels for it are loaded",
                    c10::DeviceTypeName(device)));
  }
  return found->second();
}

}  // namespace muster::sharding
