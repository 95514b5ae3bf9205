#include "launcher/runtime/libtorch.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/pattern.h"
#include "base/process/process_tree.h"
#include "base/text.h"
#include "base/version.h"
#include "launcher/runtime/places.h"

namespace muster::launcher {
namespace {

constexpr const char* kLibTorchVariable = "MUSTER_LIBTORCH";

// "2.11" of "2.11.0+cu130".
std::string minor_version(const std::string& version) {
  const std::size_t second = version.find('.', version.find('.') + 1);
  return version.substr(0, second);
}

// Python's torch has a version.py, a plain LibTorch has a file build-version.
std::string version_at(const fs::path& root) {
  static const Pattern kAssigned(R"(__version__ = '([^']+)')", Pattern::Letters::kAsWritten);
  std::error_code ignored;
  if (fs::is_regular_file(root / "version.py", ignored)) {
    const std::string text = read_text(root / "version.py");
    const auto found = kAssigned.first_in(text);
    return found ? found->text(1) : "";
  }
  if (!fs::is_regular_file(root / "build-version", ignored)) return "";
  const std::string text = read_text(root / "build-version");
  return text.substr(0, text.find('\n'));
}

LibTorch named_libtorch(const std::string& folder) {
  const auto libtorch = libtorch_in(folder);
  if (!libtorch)
    throw PreflightError(fmt::format(
        "{}={}: no lib/libtorch_cpu.so there; name the folder of a LibTorch {}.x or of Python's "
        "torch",
        kLibTorchVariable, folder, minor_version(kLibTorchVersion)));
  if (!fits(*libtorch))
    throw PreflightError(fmt::format(
        "{}={}: that is LibTorch {}, and muster was built against {}.x, whose C++ interface "
        "differs",
        kLibTorchVariable, folder, libtorch->version, minor_version(kLibTorchVersion)));
  return *libtorch;
}

// Asks the active Python, which may have more folders than the environments we know.
std::optional<fs::path> pythons_torch() {
  if (!program_in_path("python3")) return std::nullopt;
  const CapturedRun run = run_captured(
      {"python3", "-c",
       "import importlib.util as u; s = u.find_spec('torch'); print('at', s.origin if s else '')"},
      std::chrono::seconds(20));
  static const Pattern kOrigin(R"(at (/.+)/__init__\.py)", Pattern::Letters::kAsWritten);
  const auto found = kOrigin.first_in(run.output);
  if (run.exit_code != 0 || !found) return std::nullopt;
  return found->text(1);
}

// The first that fits ends the search.
void consider(LibTorchSearch& search, const fs::path& folder) {
  if (search.found) return;
  const auto libtorch = libtorch_in(folder);
  if (!libtorch) return;
  if (fits(*libtorch)) {
    search.found = libtorch;
    return;
  }
  const std::string line =
      fmt::format("torch {} in {}", libtorch->version, libtorch->root.string());
  if (std::ranges::find(search.refused, line) == search.refused.end())
    search.refused.push_back(line);
}

}  // namespace

std::optional<LibTorch> libtorch_in(const fs::path& folder) {
  std::error_code ignored;
  for (const fs::path& root : {folder, folder / "torch", folder / "libtorch"})
    if (fs::exists(root / "lib" / "libtorch_cpu.so", ignored))
      return LibTorch{fs::absolute(root).lexically_normal(), version_at(root)};
  return std::nullopt;
}

bool fits(const LibTorch& libtorch) {
  return minor_version(libtorch.version) == minor_version(kLibTorchVersion);
}

LibTorchSearch find_libtorch(const fs::path& prefix) {
  LibTorchSearch search;
  if (const std::string named = environment_value(kLibTorchVariable); !named.empty()) {
    search.found = named_libtorch(named);
    return search;
  }
  if (const std::string found = environment_value(kFoundVariable); !found.empty())
    consider(search, found);
  for (const fs::path& beside : {prefix, prefix / "lib"}) consider(search, beside);
  for (const fs::path& environment : python_environments(prefix))
    for (const fs::path& packages : site_packages(environment)) consider(search, packages);
  consider(search, cached_libtorch());
  if (search.found) return search;
  if (const auto torch = pythons_torch()) consider(search, *torch);
  return search;
}

fs::path cached_libtorch() { return cache_folder() / fmt::format("libtorch-{}", kLibTorchVersion); }

bool lacks_cuda(const LibTorch& libtorch) {
  std::error_code ignored;
  if (!fs::exists(libtorch.root / "lib" / "libtorch_cuda.so", ignored)) return false;
  for (const char* name : {"libcupti.so.13", "libcudart.so.13"}) {
    const fs::path beside = libtorch.root.parent_path() / "nvidia/cu13/lib" / name;
    if (!fs::exists(beside, ignored) && !loader_finds(name)) return true;
  }
  return false;
}

fs::path cached_cuda() { return cache_folder() / "cuda-13.0-for-libtorch"; }

std::string libtorch_advice(const LibTorchSearch& search) {
  const std::string refused =
      search.refused.empty() ? "" : fmt::format(" ({} not fit)", join(search.refused, ", "));
  return fmt::format(
      "muster needs LibTorch {0}.x and found none{1}: `pip install torch=={2}` into the active "
      "Python environment, or set {3} to the folder of one",
      minor_version(kLibTorchVersion), refused, kLibTorchVersion, kLibTorchVariable);
}

std::vector<fs::path> library_folders(const LibTorch& libtorch) {
  std::vector<fs::path> folders = {libtorch.root / "lib"};
  std::error_code ignored;
  std::vector<fs::path> nvidia;
  for (const auto& entry : fs::directory_iterator(libtorch.root.parent_path() / "nvidia", ignored))
    if (fs::is_directory(entry.path() / "lib", ignored)) nvidia.push_back(entry.path() / "lib");
  std::ranges::sort(nvidia);
  folders.insert(folders.end(), nvidia.begin(), nvidia.end());
  return folders;
}

}  // namespace muster::launcher
