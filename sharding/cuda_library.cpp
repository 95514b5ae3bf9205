#include "sharding/cuda_library.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <filesystem>

#include "base/error.h"

namespace muster::sharding {
namespace {

CudaLibrary open_library() {
  const std::filesystem::path beside =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libmuster_cuda.so";
  const std::string name = std::filesystem::exists(beside) ? beside.string() : "libmuster_cuda.so";
  // It is never closed: CUDA does not survive that.
  void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    throw PreflightError(fmt::format(
        "run.device is cuda and {} does not load: {}. Build it with ./run build --cuda, or set "
        "run.device: cpu (eval and predict: --device cpu)",
        name, ::dlerror()));
  }
  const auto open = reinterpret_cast<CudaLibrary (*)()>(::dlsym(library, "muster_cuda_open"));
  if (open == nullptr)
    throw PreflightError(fmt::format("{} is not of this version of muster: rebuild it", name));
  return open();
}

}  // namespace

const CudaLibrary& load_cuda_library() {
  static const CudaLibrary library = open_library();
  return library;
}

}  // namespace muster::sharding
