#include "launcher/doctor/judgements.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "launcher/rank/world.h"
#include "launcher/supervise/command_builder.h"

namespace muster::launcher {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;
constexpr std::int64_t kDiskFail = kGiB / 4, kDiskWarn = 10 * kGiB;
constexpr std::int64_t kFiles = 4096;
constexpr std::size_t kShownIdentity = 12;   // characters of a pack's fingerprint
constexpr std::int64_t kBusyGpu = kGiB / 2;  // a CUDA context alone holds about this much
constexpr int kDriver = 580;                 // the oldest that runs CUDA 13

Finding check_mpirun(const NodeFacts& f) {
  if (f.mpirun.empty()) {
    return fail("R-011", "mpirun was not found",
                "install Open MPI (`./run setup`), or `module load` it");
  }
  const auto program = parse_open_mpi_version(f.mpirun);
  const auto library = parse_open_mpi_version(f.mpi_library);
  if (!program) {
    return fail("R-011", "mpirun is not Open MPI's: " + f.mpirun,
                "put Open MPI's bin folder first in PATH");
  }
  if (!library || library->major != program->major || library->minor != program->minor) {
    return fail("R-012",
                fmt::format("mpirun is Open MPI {} but this program loads {}", program->text,
                            library ? "Open MPI " + library->text : f.mpi_library),
                "make PATH and LD_LIBRARY_PATH name one installation, or build again with this "
                "mpirun's mpicxx");
  }
  return ok("R-012", fmt::format("mpirun and library: Open MPI {}", program->text));
}

Finding check_not_nested(const NodeFacts& f) {
  if (!f.nested) return ok("R-011", "not inside another mpirun or srun --mpi");
  return fail(
      "R-011", "this process was itself started by mpirun or srun --mpi",
      "run `muster launch` once, it starts mpirun; or run `mpirun -n N muster train CONFIG`");
}

Finding check_shared_memory(const NodeFacts& f) {
  if (f.shm_bytes < 0) {
    return warn("D-010", "/dev/shm is missing", "mount a tmpfs there: NCCL and Open MPI use it");
  }
  const std::string what = fmt::format("/dev/shm holds {}", human_bytes(f.shm_bytes));
  if (f.shm_bytes >= kGiB) return ok("D-010", what);
  return warn("D-010", what, "start the container with --ipc=host or --shm-size=16g");
}

std::string limit_text(std::int64_t value) {
  return value < 0 ? "unlimited" : std::to_string(value);
}

Finding check_open_files(const NodeFacts& f) {
  const std::string what = "open files: " + limit_text(f.open_files);
  if (f.open_files < 0 || f.open_files >= kFiles) return ok("", what);
  return warn("", what, fmt::format("ulimit -n {}", kFiles));
}

Finding check_locked_memory(const NodeFacts& f) {
  const std::string what = "locked memory: " + limit_text(f.locked_bytes);
  if (f.locked_bytes < 0 || f.gpus.empty()) return ok("", what);
  return warn("", what + " bytes",
              "ulimit -l unlimited (containers: --ulimit memlock=-1), or RDMA may fail");
}

Finding check_host_name(const NodeFacts& f) {
  if (f.host_error.empty()) return ok("R-007", fmt::format("host name {} resolves", f.host));
  return warn("R-007", fmt::format("host name {} does not resolve: {}", f.host, f.host_error),
              fmt::format("add it to /etc/hosts: 127.0.1.1 {}", f.host));
}

Finding check_run_dir(const NodeFacts& f, const std::string& run_dir) {
  if (f.run_dir_error.empty())
    return ok("D-006", fmt::format("run folder {} can be written", run_dir));
  return fail("D-006", fmt::format("run folder {} cannot be written: {}", run_dir, f.run_dir_error),
              "choose another run.dir (`--set run.dir=...`) or fix its rights");
}

Finding check_disk(const NodeFacts& f, const std::string& run_dir) {
  const std::string what = fmt::format("{} free for {}", human_bytes(f.disk_free_bytes), run_dir);
  const std::string fix = "free some, lower checkpoint.keep, or choose another run.dir";
  if (f.disk_free_bytes < kDiskFail) return fail("R-009", what, fix);
  if (f.disk_free_bytes < kDiskWarn) return warn("R-009", what, fix);
  return ok("R-009", what);
}

Finding check_cores(const NodeFacts& f, int ranks, std::int64_t threads) {
  const std::string what =
      fmt::format("{} ranks x {} threads on {} cores", ranks, threads, f.cores);
  if (ranks * threads <= f.cores) return ok("", what);
  return warn("", what,
              "lower run.threads_per_rank or -n, unless the ranks go to several machines");
}

Finding check_gpu_count(const NodeFacts& f, int ranks) {
  const auto gpus = static_cast<int>(f.gpus.size());
  if (gpus == 0) {
    return fail("R-012", "run.device is cuda but this machine shows no NVIDIA GPU",
                "install the driver (containers: --gpus all), or set run.device=cpu");
  }
  const std::string what = fmt::format("{} GPUs here for {} ranks", gpus, ranks);
  if (ranks <= gpus) return ok("R-012", what);
  return fail("R-012", what, fmt::format("one rank per GPU: at most {} on this machine", gpus));
}

void check_busy_gpus(const NodeFacts& f, std::vector<Finding>& found) {
  for (std::size_t i = 0; i < f.gpus.size(); ++i) {
    if (f.gpus[i].used_bytes <= kBusyGpu) continue;
    found.push_back(
        warn("R-001",
             fmt::format("GPU {} ({}) is not free: {} of {} are in use", i, f.gpus[i].name,
                         human_bytes(f.gpus[i].used_bytes), human_bytes(f.gpus[i].total_bytes)),
             "`nvidia-smi` names the processes; left-overs of an earlier run must end first"));
  }
}

Finding check_driver(const NodeFacts& f) {
  if (f.driver.empty()) {
    return warn(
        "R-012", "the NVIDIA driver does not say its version",
        "libnvidia-ml.so.1 was not found: install the driver's libraries (containers: --gpus all)");
  }
  const std::string what =
      fmt::format("NVIDIA driver {}, NCCL {}", f.driver, f.nccl.empty() ? "not loaded" : f.nccl);
  if (std::atoi(f.driver.c_str()) >= kDriver) return ok("R-012", what);
  return fail("R-012", what, fmt::format("CUDA 13 needs driver {} or newer", kDriver));
}

// What all nodes of a run must have in common. "" is unknown and fits anything.
struct EqualFact {
  const char* what;
  const char* fix;
  std::string (*of)(const NodeFacts& facts);
};

std::string packs_of(const NodeFacts& facts) {
  std::string all;
  for (const auto& [path, identity] : facts.packs)
    if (!identity.starts_with(kBrokenPack)) all += identity.substr(0, kShownIdentity);
  return all;
}

constexpr const char* kInstall =
    "install the same build everywhere, or put it on a file system all nodes share";
constexpr std::array<EqualFact, 9> kEqualFacts{{
    {"the muster binary", kInstall, [](const NodeFacts& f) { return f.binary_hash; }},
    {"LibTorch", kInstall, [](const NodeFacts& f) { return f.libtorch; }},
    {"Open MPI's library", "load the same module on all nodes",
     [](const NodeFacts& f) { return f.mpi_library; }},
    {"glibc", "use nodes of one image, or a container", [](const NodeFacts& f) { return f.libc; }},
    {"the NVIDIA driver", "keep the odd node out, or update it",
     [](const NodeFacts& f) { return f.driver; }},
    {"NCCL", kInstall, [](const NodeFacts& f) { return f.nccl; }},
    {"the number of GPUs", "keep the odd node out, or give each host its slots",
     [](const NodeFacts& f) { return std::to_string(f.gpus.size()); }},
    {"the config", "its file must be the same on all nodes",
     [](const NodeFacts& f) { return f.config_hash; }},
    {"the packs", "copy them again, or use a file system all nodes share", packs_of},
}};

Finding check_equal(std::span<const NodeFacts> nodes, const EqualFact& fact) {
  std::map<std::string, std::vector<std::string>> hosts_by_value;
  for (const NodeFacts& node : nodes)
    if (const std::string value = fact.of(node); !value.empty())
      hosts_by_value[value].push_back(node.host);
  if (hosts_by_value.empty())
    return ok("R-012", fmt::format("{} on all nodes: not known", fact.what));
  if (hosts_by_value.size() == 1)
    return ok("R-012",
              fmt::format("{} on all nodes: {}", fact.what, hosts_by_value.begin()->first));
  const auto usual = std::ranges::max_element(
      hosts_by_value, {}, [](const auto& entry) { return entry.second.size(); });
  std::string text;
  std::string odd;
  for (const auto& [value, hosts] : hosts_by_value) {
    text += fmt::format("{}{} on {}", text.empty() ? "" : ", ", value, join(hosts, " "));
    if (value != usual->first) odd += (odd.empty() ? "" : " ") + join(hosts, " ");
  }
  Finding finding = fail("R-012", fmt::format("{} differs: {}", fact.what, text), fact.fix);
  finding.host = odd;
  return finding;
}

const char* level_name(Level level) {
  constexpr std::array kNames{"ok", "warn", "fail"};
  return kNames[static_cast<std::size_t>(level)];
}

}  // namespace

Finding ok(std::string id, std::string what) {
  return {.id = std::move(id), .level = Level::kOk, .what = std::move(what)};
}

Finding warn(std::string id, std::string what, std::string fix) {
  return {
      .id = std::move(id), .level = Level::kWarn, .what = std::move(what), .fix = std::move(fix)};
}

Finding fail(std::string id, std::string what, std::string fix) {
  return {
      .id = std::move(id), .level = Level::kFail, .what = std::move(what), .fix = std::move(fix)};
}

std::vector<Finding> judge_machine(const NodeFacts& f) {
  return {check_mpirun(f),
          check_not_nested(f),
          check_shared_memory(f),
          check_open_files(f),
          check_locked_memory(f),
          check_host_name(f),
          ok("", fmt::format("muster {}, LibTorch {}, glibc {}", f.muster, f.libtorch, f.libc)),
          ok("", fmt::format("{} cores, {} of memory available, {} GPUs", f.cores,
                             human_bytes(f.memory_bytes), f.gpus.size()))};
}

std::vector<Finding> judge_run(const NodeFacts& f, const configs::Config& config, int ranks_here) {
  std::vector<Finding> found{check_run_dir(f, config.run.dir), check_disk(f, config.run.dir)};
  if (ranks_here > 0) found.push_back(check_cores(f, ranks_here, config.run.threads_per_rank));
  if (config.run.device == configs::Device::kCuda) {
    found.push_back(check_gpu_count(f, std::max(ranks_here, 1)));
    found.push_back(check_driver(f));
    check_busy_gpus(f, found);
  }
  found.push_back(judge_products(config, f.bf16_products));
  for (const auto& [path, identity] : f.packs) {
    if (identity.starts_with(kBrokenPack))
      found.push_back(fail("D-003", identity.substr(kBrokenPack.size()),
                           fmt::format("make it: `muster pack SOURCE -o {}`", path)));
  }
  return found;
}

Finding judge_products(const configs::Config& config, bool bf16_products) {
  const bool asks =
      config.run.device == configs::Device::kCpu && config.model.dtype == configs::Dtype::kBf16;
  if (!asks || bf16_products) return ok("", "the processor has the products that model.dtype asks");
  std::string fix = "--set model.dtype=fp32";
  if (config.sharding.wire_dtype != configs::Dtype::kFp32) fix += " --set sharding.wire_dtype=fp32";
  if (config.optimizer.master != configs::Master::kFp32) fix += " --set optimizer.master=fp32";
  return warn("",
              "model.dtype is bf16, but this processor has no products of bf16 (AVX-512 has): each "
              "step takes many times as long as in fp32",
              fix);
}

std::vector<Finding> judge_equality(std::span<const NodeFacts> nodes) {
  std::vector<Finding> found;
  for (const EqualFact& fact : kEqualFacts) found.push_back(check_equal(nodes, fact));
  return found;
}

Finding judge_clocks(std::span<const NodeFacts> nodes, double asked_unix, double answered_unix) {
  constexpr double kAgree_s = 2;
  std::vector<std::string> off;
  for (const NodeFacts& node : nodes) {
    if (node.unix_time <= 0) continue;  // of a version that does not say
    const double behind = asked_unix - node.unix_time;
    const double ahead = node.unix_time - answered_unix;
    if (behind > kAgree_s) off.push_back(fmt::format("{} is {:.0f} s behind", node.host, behind));
    if (ahead > kAgree_s) off.push_back(fmt::format("{} is {:.0f} s ahead", node.host, ahead));
  }
  if (off.empty()) return ok("R-025", "the clocks of the nodes agree to within 2 s");
  return warn("R-025", fmt::format("clocks disagree: {}", join(off, ", ")),
              "the run does not depend on it; let the operator start NTP, so that logs can be read "
              "side by side");
}

Finding check_division(int ranks, std::int64_t micro_batches_per_step) {
  try {
    check_world(ranks, micro_batches_per_step);
    return ok("R-011", fmt::format("{} ranks share {} micro-batches per step", ranks,
                                   micro_batches_per_step));
  } catch (const UsageError& error) {
    return fail("R-011", error.what(), "see the message");
  }
}

bool any_failed(std::span<const Finding> findings) {
  return std::ranges::any_of(findings, [](const Finding& f) { return f.level == Level::kFail; });
}

std::string findings_as_json(std::span<const Finding> findings) {
  nlohmann::json all = nlohmann::json::array();
  for (const Finding& f : findings) {
    all.push_back({{"id", f.id},
                   {"level", level_name(f.level)},
                   {"what", f.what},
                   {"fix", f.fix},
                   {"host", f.host}});
  }
  const nlohmann::json report{{"ok", !any_failed(findings)}, {"findings", all}};
  return report.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string findings_as_text(std::span<const Finding> findings, Level least) {
  std::string text;
  for (const Finding& f : findings) {
    if (f.level < least) continue;
    const std::string host = f.host.empty() ? "" : f.host + ": ";
    const std::string fix = f.fix.empty() ? "" : ". Fix: " + f.fix;
    text += fmt::format("{:<4} {:<6} {}{}{}\n", level_name(f.level), f.id, host, f.what, fix);
  }
  return text;
}

}  // namespace muster::launcher
