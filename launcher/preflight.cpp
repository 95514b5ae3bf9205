#include "launcher/preflight.h"

#include <fmt/core.h>
#include <mpi.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "launcher/command_builder.h"
#include "launcher/process_tree.h"
#include "launcher/run_folder.h"
#include "launcher/world.h"

namespace muster::launcher {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;
constexpr std::int64_t kMemoryPerRank = 2 * kGiB;  // below: worth a word
constexpr std::int64_t kDiskFail = kGiB / 4, kDiskWarn = 10 * kGiB;
constexpr rlim_t kFiles = 4096;
constexpr std::chrono::seconds kVersionLimit{20};

Finding ok(std::string id, std::string what) { return {std::move(id), Level::kOk, std::move(what), ""}; }

Finding check_mpirun() {
  const CapturedRun run = run_captured({"mpirun", "--version"}, kVersionLimit);
  if (run.exit_code == -1) {
    return {"R-011", Level::kFail, "mpirun was not found", "install Open MPI (`./run setup`), or `module load` it"};
  }
  const auto program = parse_open_mpi_version(run.output);
  if (!program) {
    return {"R-011", Level::kFail, "mpirun is not Open MPI's: " + run.output.substr(0, run.output.find('\n')),
            "put Open MPI's bin folder first in PATH"};
  }
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const auto library = parse_open_mpi_version(text.data());
  if (!library || library->major != program->major || library->minor != program->minor) {
    return {"R-012", Level::kFail,
            fmt::format("mpirun is Open MPI {} but this program loads {}", program->text,
                        library ? "Open MPI " + library->text : std::string(text.data())),
            "make PATH and LD_LIBRARY_PATH name one installation, or build again with this mpirun's mpicxx"};
  }
  return ok("R-012", fmt::format("mpirun and library: Open MPI {}", program->text));
}

Finding check_not_nested() {
  if (!world_from_environment().launched()) return ok("R-011", "not inside another mpirun or srun --mpi");
  return {"R-011", Level::kFail, "this process was itself started by mpirun or srun --mpi",
          "run `muster launch` once, it starts mpirun; or run `mpirun -n N muster train CONFIG`"};
}

Finding check_shared_memory() {
  struct statvfs info {};
  if (::statvfs("/dev/shm", &info) != 0) {
    return {"D-010", Level::kWarn, "/dev/shm is missing", "mount a tmpfs there: NCCL and Open MPI use it"};
  }
  const auto bytes = static_cast<std::int64_t>(info.f_blocks * info.f_frsize);
  const std::string what = fmt::format("/dev/shm holds {}", human_bytes(bytes));
  if (bytes >= kGiB) return ok("D-010", what);
  return {"D-010", Level::kWarn, what, "start the container with --ipc=host or --shm-size=16g"};
}

std::string limit_text(rlim_t value) { return value == RLIM_INFINITY ? "unlimited" : std::to_string(value); }

Finding check_open_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string what = "open files: " + limit_text(limit.rlim_cur);
  if (limit.rlim_cur >= kFiles) return ok("", what);
  return {"", Level::kWarn, what, fmt::format("ulimit -n {}", kFiles)};
}

Finding check_locked_memory() {
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  const std::string what = "locked memory: " + limit_text(limit.rlim_cur);
  if (limit.rlim_cur == RLIM_INFINITY || this_machine().gpus == 0) return ok("", what);
  return {"", Level::kWarn, what + " bytes", "ulimit -l unlimited (containers: --ulimit memlock=-1), or RDMA may fail"};
}

Finding check_host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(name.data(), nullptr, nullptr, &found);
  if (error == 0) ::freeaddrinfo(found);
  if (error == 0) return ok("R-007", fmt::format("host name {} resolves", name.data()));
  return {"R-007", Level::kWarn, fmt::format("host name {} does not resolve: {}", name.data(), ::gai_strerror(error)),
          fmt::format("add it to /etc/hosts: 127.0.1.1 {}", name.data())};
}

fs::path nearest_existing(fs::path path) {
  while (!fs::exists(path) && path.has_parent_path() && path != path.parent_path()) path = path.parent_path();
  return path;
}

Finding check_run_dir(const fs::path& run_dir) {
  try {
    const fs::path base = nearest_existing(fs::absolute(run_dir));
    if (!fs::is_directory(base)) throw PreflightError(base.string() + " is not a folder");
    const fs::path probe = base / fmt::format(".muster-probe-{}", ::getpid());
    write_text(probe, "x");
    fs::remove(probe);
    return ok("D-006", fmt::format("run folder {} can be written", run_dir.string()));
  } catch (const std::exception& error) {
    return {"D-006", Level::kFail, fmt::format("run folder {} cannot be written: {}", run_dir.string(), error.what()),
            "choose another run.dir (`--set run.dir=...`) or fix its rights"};
  }
}

Finding check_disk(const fs::path& run_dir) {
  std::error_code error;
  const auto space = fs::space(nearest_existing(fs::absolute(run_dir)), error);
  const auto bytes = error ? 0 : static_cast<std::int64_t>(space.available);
  const std::string what = fmt::format("{} free for {}", human_bytes(bytes), run_dir.string());
  const std::string fix = "free some, lower checkpoint.keep, or choose another run.dir";
  if (bytes < kDiskFail) return {"R-009", Level::kFail, what, fix};
  return bytes < kDiskWarn ? Finding{"R-009", Level::kWarn, what, fix} : ok("R-009", what);
}

Finding check_division(int ranks, std::int64_t micro_batches_per_step) {
  try {
    check_world(ranks, micro_batches_per_step);
    return ok("R-011", fmt::format("{} ranks share {} micro-batches per step", ranks, micro_batches_per_step));
  } catch (const UsageError& error) {
    return {"R-011", Level::kFail, error.what(), "see the message"};
  }
}

Finding check_cores(int ranks, std::int64_t threads) {
  const int cores = this_machine().cores;
  const std::string what = fmt::format("{} ranks x {} threads on {} cores", ranks, threads, cores);
  if (ranks * threads <= cores) return ok("", what);
  return {"", Level::kWarn, what, "lower run.threads_per_rank or -n, unless the ranks go to several machines"};
}

Finding check_memory(int ranks) {
  const std::int64_t bytes = this_machine().memory_bytes;
  const std::string what = fmt::format("{} of memory available for {} ranks here", human_bytes(bytes), ranks);
  if (bytes >= ranks * kMemoryPerRank) return ok("R-001", what);
  return {"R-001", Level::kWarn, what, "`muster plan CONFIG` says what a rank needs"};
}

Finding check_gpus(int ranks) {
  const int gpus = this_machine().gpus;
  if (gpus == 0) {
    return {"R-012", Level::kFail, "run.device is cuda but this machine shows no NVIDIA GPU",
            "install the driver (containers: --gpus all), or set run.device=cpu"};
  }
  const std::string what = fmt::format("{} GPUs here for {} ranks", gpus, ranks);
  if (ranks <= gpus || std::getenv("SLURM_JOB_ID") != nullptr) return ok("R-012", what);
  return {"R-012", Level::kFail, what, fmt::format("one rank per GPU: -n {}", gpus)};
}

const char* level_name(Level level) { return level == Level::kOk ? "ok" : level == Level::kWarn ? "warn" : "fail"; }

}  // namespace

std::vector<Finding> examine_machine() {
  const Machine m = this_machine();
  return {
      check_mpirun(),
      check_not_nested(),
      check_shared_memory(),
      check_open_files(),
      check_locked_memory(),
      check_host_name(),
      ok("", fmt::format("{} cores, {} of memory available, {} GPUs", m.cores, human_bytes(m.memory_bytes), m.gpus))};
}

std::vector<Finding> examine_run(const configs::Config& config, int ranks) {
  std::vector<Finding> found{check_run_dir(config.run.dir), check_disk(config.run.dir)};
  if (ranks > 0) {
    found.push_back(check_division(ranks, config.batch.micro_batches_per_step));
    found.push_back(check_cores(ranks, config.run.threads_per_rank));
    found.push_back(check_memory(ranks));
  }
  if (config.run.device == "cuda") found.push_back(check_gpus(std::max(ranks, 1)));
  return found;
}

bool any_failed(std::span<const Finding> findings) {
  return std::ranges::any_of(findings, [](const Finding& f) { return f.level == Level::kFail; });
}

std::string findings_as_json(std::span<const Finding> findings) {
  nlohmann::json all = nlohmann::json::array();
  for (const Finding& f : findings) {
    all.push_back({{"id", f.id}, {"level", level_name(f.level)}, {"what", f.what}, {"fix", f.fix}});
  }
  const nlohmann::json report{{"ok", !any_failed(findings)}, {"findings", all}};
  return report.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string findings_as_text(std::span<const Finding> findings, Level least) {
  std::string text;
  for (const Finding& f : findings) {
    if (f.level < least) continue;
    text +=
        fmt::format("{:<4} {:<6} {}{}\n", level_name(f.level), f.id, f.what, f.fix.empty() ? "" : ". Fix: " + f.fix);
  }
  return text;
}

}  // namespace muster::launcher
