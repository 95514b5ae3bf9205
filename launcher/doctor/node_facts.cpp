#include "launcher/doctor/node_facts.h"

#include <fmt/core.h>
#include <gnu/libc-version.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "base/source_files.h"
#include "base/version.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/world.h"
#include "launcher/runtime/open_mpi.h"

namespace muster::launcher {
namespace {

constexpr std::chrono::seconds kVersionLimit{20};

std::string head_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// Hashes both programs a run is made of.
std::string program_hash() {
  const fs::path folder = executable_path().parent_path();
  std::string hashes;
  for (const char* name : {"muster", "muster-torch"})
    if (fs::exists(folder / name)) hashes += xxh128_file(folder / name);
  return xxh128(std::as_bytes(std::span(hashes)));
}

std::int64_t limit_of(__rlimit_resource which) {
  rlimit limit{};
  ::getrlimit(which, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? -1 : static_cast<std::int64_t>(limit.rlim_cur);
}

std::int64_t shared_memory_bytes() {
  struct statvfs info {};
  return ::statvfs("/dev/shm", &info) == 0
             ? static_cast<std::int64_t>(info.f_blocks * info.f_frsize)
             : -1;
}

std::string why_unresolved(const std::string& host) {
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, nullptr, &found);
  if (error == 0) ::freeaddrinfo(found);
  return error == 0 ? "" : ::gai_strerror(error);
}

fs::path nearest_existing(fs::path path) {
  while (!fs::exists(path) && path.has_parent_path() && path != path.parent_path())
    path = path.parent_path();
  return path;
}

std::string why_not_writable(const fs::path& base) {
  try {
    if (!fs::is_directory(base)) throw PreflightError(base.string() + " is not a folder");
    const fs::path probe = base / fmt::format(".muster-probe-{}-{}", own_host(), ::getpid());
    write_text(probe, "x");
    fs::remove(probe);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

NodeFacts gather_facts() {
  const Machine machine = this_machine();
  NodeFacts facts;
  facts.host = own_host();
  facts.unix_time = unix_now();
  facts.muster = kVersion;
  facts.binary_hash = program_hash();
  facts.libtorch = kLibTorchVersion;
  facts.libc = ::gnu_get_libc_version();
  const CapturedRun mpirun = run_captured({"mpirun", "--version"}, kVersionLimit);
  facts.mpirun = mpirun.exit_code == -1 ? "" : head_line(mpirun.output);
  facts.mpi_library = library_version({});  // which the loader finds, as ranks will
  facts.nested = world_from_environment().launched();
  facts.cores = machine.cores;
  facts.bf16_products = has_bf16_products();
  facts.memory_bytes = machine.memory_bytes;
  facts.shm_bytes = shared_memory_bytes();
  facts.open_files = limit_of(RLIMIT_NOFILE);
  facts.locked_bytes = limit_of(RLIMIT_MEMLOCK);
  facts.host_error = why_unresolved(facts.host);
  add_gpu_facts(facts);
  return facts;
}

void gather_run_facts(NodeFacts& facts, const configs::Config& config) {
  const fs::path base = nearest_existing(fs::absolute(config.run.dir));
  facts.run_dir_error = why_not_writable(base);
  std::error_code error;
  const auto space = fs::space(base, error);
  facts.disk_free_bytes = error ? 0 : static_cast<std::int64_t>(space.available);
  const std::string yaml = configs::to_yaml(config);
  facts.config_hash = xxh128(std::as_bytes(std::span(yaml)));
}

// These make JSON of the members and read it back; a key that is missing is an exception.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Gpu, name, total_bytes, used_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(NodeFacts, host, muster, binary_hash, libtorch, libc, mpirun,
                                   mpi_library, driver, nccl, nested, cores, bf16_products,
                                   memory_bytes, shm_bytes, open_files, locked_bytes, unix_time,
                                   host_error, gpus, run_dir_error, disk_free_bytes, config_hash,
                                   packs)

std::string facts_as_json(const NodeFacts& facts) {
  const nlohmann::json value(facts);
  return value.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

NodeFacts facts_from_json(const std::string& text) {
  try {
    return parse_json(text).get<NodeFacts>();
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("a node's facts are damaged: {}", json_fault(error)));
  }
}

}  // namespace muster::launcher
