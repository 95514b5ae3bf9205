#include "sharding/cuda_library.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <filesystem>

#include "base/error.h"
#include "base/source_files.h"

namespace muster::sharding {
namespace {

CudaLibrary open_library() {
  const std::filesystem::path folder = executable_path().parent_path();
  std::string name = "libmuster_cuda.so";
  for (const std::filesystem::path& candidate :
       {folder / name, folder.parent_path() / "lib" / name}) {  // built, installed
    if (!std::filesystem::exists(candidate)) continue;
    name = candidate.string();
    break;
  }
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
