// NVML is loaded through dlopen: a machine without a driver has no such library, and a build
// without CUDA must not need it.
#include <dlfcn.h>

#include <array>
#include <cstdlib>

#include "base/machine.h"
#include "base/text.h"
#include "launcher/doctor/node_facts.h"

namespace muster::launcher {
namespace {

struct NvmlMemory {  // nvmlMemory_t
  unsigned long long total, free, used;
};
using NvmlDevice = void*;

class Library {
 public:
  explicit Library(const char* name) : handle_(::dlopen(name, RTLD_LAZY | RTLD_LOCAL)) {}
  ~Library() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  // Returns nullptr when the library or the function is not there.
  template <typename Function>
  Function* find(const char* name) const {
    return handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(::dlsym(handle_, name));
  }

 private:
  void* handle_;
};

Gpu describe_gpu(const Library& nvml, unsigned index) {
  const auto handle = nvml.find<int(unsigned, NvmlDevice*)>("nvmlDeviceGetHandleByIndex_v2");
  const auto name = nvml.find<int(NvmlDevice, char*, unsigned)>("nvmlDeviceGetName");
  const auto memory = nvml.find<int(NvmlDevice, NvmlMemory*)>("nvmlDeviceGetMemoryInfo");
  Gpu gpu;
  NvmlDevice device = nullptr;
  if (handle == nullptr || handle(index, &device) != 0) return gpu;
  std::array<char, 96> text{};
  if (name != nullptr && name(device, text.data(), text.size()) == 0) gpu.name = text.data();
  NvmlMemory bytes{};
  if (memory != nullptr && memory(device, &bytes) == 0) {
    gpu.total_bytes = static_cast<std::int64_t>(bytes.total);
    gpu.used_bytes = static_cast<std::int64_t>(bytes.used);
  }
  return gpu;
}

// Returns those that CUDA_VISIBLE_DEVICES names, and all when it is absent or names them otherwise
// than by number.
std::vector<Gpu> visible_of(const std::vector<Gpu>& all) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible == nullptr) return all;
  std::vector<Gpu> chosen;
  for (const std::string& word : split(visible, ',')) {
    if (word.empty()) continue;
    char* end = nullptr;
    const auto index = std::strtoul(word.c_str(), &end, 10);
    if (*end != '\0') return all;
    if (index < all.size()) chosen.push_back(all[index]);
  }
  return chosen;
}

std::string nccl_version() {
  const Library nccl("libnccl.so.2");
  const auto get = nccl.find<int(int*)>("ncclGetVersion");
  int version = 0;  // 22809 is 2.28.9
  if (get == nullptr || get(&version) != 0) return "";
  constexpr int kMajor = 10000, kMinor = 100;
  return std::to_string(version / kMajor) + "." + std::to_string(version / kMinor % kMinor) + "." +
         std::to_string(version % kMinor);
}

}  // namespace

void add_gpu_facts(NodeFacts& facts) {
  const Library nvml("libnvidia-ml.so.1");
  const auto init = nvml.find<int()>("nvmlInit_v2");
  const auto count = nvml.find<int(unsigned*)>("nvmlDeviceGetCount_v2");
  const auto driver = nvml.find<int(char*, unsigned)>("nvmlSystemGetDriverVersion");
  if (init == nullptr || count == nullptr || init() != 0) {
    facts.gpus.resize(static_cast<std::size_t>(
        this_machine().gpus));  // device files without the library: seen, unknown
    return;
  }
  std::array<char, 96> text{};
  if (driver != nullptr && driver(text.data(), text.size()) == 0) facts.driver = text.data();
  unsigned gpus = 0;
  if (count(&gpus) != 0) gpus = 0;
  std::vector<Gpu> all;
  for (unsigned i = 0; i < gpus; ++i) all.push_back(describe_gpu(nvml, i));
  facts.gpus = visible_of(all);
  facts.nccl = nccl_version();
  if (const auto shutdown = nvml.find<int()>("nvmlShutdown")) shutdown();
}

}  // namespace muster::launcher
