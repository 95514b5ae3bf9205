#include "base/fault.h"

#if MUSTER_FAULTS

#include <fmt/ranges.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace muster::fault {
namespace {

enum class What : std::uint8_t {
  kSigkill,
  kExit,
  kThrow,
  kSigstop,
  kNan,
  kOom,
  kSlow,
  kEnospc,
  kEio,
  kEstale,
  kBitflip,
  kClock
};
constexpr std::array<std::string_view, 12> kWhats{"sigkill", "exit",   "throw",   "sigstop",
                                                  "nan",     "oom",    "slow",    "enospc",
                                                  "eio",     "estale", "bitflip", "clock"};
constexpr std::int64_t kHour_ns = 3'600'000'000'000;
constexpr std::chrono::milliseconds kSlow{1500};

struct Wanted {
  int rank = -1;           // -1: every rank
  std::int64_t step = -1;  // -1: any step
  std::optional<Phase> phase;
  What what = What::kSigkill;
};

std::atomic<bool> nan_due = false;
std::atomic<int> file_error_due = 0;
std::atomic<std::int64_t> ahead_ns = 0;
std::atomic<bool> done = false;

[[noreturn]] void refuse(const std::string& part) {
  throw UsageError(fmt::format("MUSTER_FAULT: '{}' is none of rank=N, step=N, phase=NAME, what={}",
                               part, fmt::join(kWhats, "|")));
}

std::int64_t number(const std::string& part, std::string_view value) {
  std::int64_t found = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), found);
  if (error != std::errc() || end != value.data() + value.size()) refuse(part);
  return found;
}

Phase phase_of(const std::string& part, std::string_view value) {
  if (value == "init") return Phase::kStart;
  if (value == "shutdown") return Phase::kDone;
  for (int phase = 0; phase <= static_cast<int>(Phase::kDone); ++phase)
    if (phase_name(static_cast<Phase>(phase)) == value) return static_cast<Phase>(phase);
  refuse(part);
}

What what_of(const std::string& part, std::string_view value) {
  for (std::size_t i = 0; i < kWhats.size(); ++i)
    if (kWhats[i] == value) return static_cast<What>(i);
  refuse(part);
}

Wanted parse(const std::string& text) {
  Wanted wanted;
  bool said = false;
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string_view key = std::string_view(part).substr(0, equals);
    const std::string_view value = std::string_view(part).substr(std::min(equals + 1, part.size()));
    if (key == "rank") {
      wanted.rank = static_cast<int>(number(part, value));
    } else if (key == "step") {
      wanted.step = number(part, value);
    } else if (key == "phase") {
      wanted.phase = phase_of(part, value);
    } else if (key == "what") {
      wanted.what = what_of(part, value);
      said = true;
    } else {
      refuse(part);
    }
  }
  if (!said) refuse(text);
  return wanted;
}

// The first attempt fails; what comes after it shows whether the run recovers.
std::optional<Wanted> wanted() {
  const char* text = std::getenv("MUSTER_FAULT");
  const char* attempt = std::getenv("MUSTER_ATTEMPT");
  const bool first = attempt == nullptr || std::string_view(attempt) == "0";
  if (text == nullptr || *text == '\0' || !first) return std::nullopt;
  return parse(text);
}

// One bit of the largest file of the newest checkpoint, as a failing disk flips it.
void flip_a_bit() {
  const char* run_dir = std::getenv("MUSTER_RUN_DIR");
  if (run_dir == nullptr) return;
  fs::path newest;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(fs::path(run_dir) / "checkpoints", absent))
    if (fs::exists(entry.path() / "manifest.json") && entry.path() > newest) newest = entry.path();
  fs::path largest;
  for (const auto& entry : fs::directory_iterator(newest, absent))
    if (largest.empty() || entry.file_size() > fs::file_size(largest)) largest = entry.path();
  if (largest.empty()) return;
  std::fstream file(largest, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(fs::file_size(largest) / 2);
  file.seekg(middle);
  const auto byte = static_cast<unsigned>(file.get());
  file.seekp(middle);
  file.put(static_cast<char>(byte ^ 1U));
}

// The errno of what the next written file is to fail with; 0 for faults of another kind.
int file_error_of(What what) {
  switch (what) {
    case What::kEnospc: return ENOSPC;
    case What::kEio: return EIO;
    case What::kEstale: return ESTALE;
    default: return 0;
  }
}

// Past every buffer: whoever asked for a fault must be able to tell whether there was one.
void tell() noexcept {
  constexpr std::string_view kWords = "MUSTER_FAULT: it happens now\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kWords.data(), kWords.size());
}

// NaN and errors of files wait for the next loss and the next file.
bool waits(What what) { return what == What::kNan || file_error_of(what) != 0; }

void happen(What what) {
  if (!waits(what)) tell();
  if (what == What::kBitflip) flip_a_bit();
  if (what == What::kBitflip || what == What::kSigkill) ::raise(SIGKILL);
  if (what == What::kSigstop) ::raise(SIGSTOP);
  if (what == What::kExit) std::_Exit(3);
  if (what == What::kThrow) throw std::runtime_error("a fault that was asked for (MUSTER_FAULT)");
  if (what == What::kOom) throw std::bad_alloc();
  if (what == What::kSlow) std::this_thread::sleep_for(kSlow);
  if (what == What::kNan) nan_due = true;
  if (what == What::kClock) ahead_ns = kHour_ns;
  if (const int error = file_error_of(what); error != 0) file_error_due = error;
}

}  // namespace

bool compiled() noexcept { return true; }

void at(Phase phase, int rank, std::int64_t step) {
  static const std::optional<Wanted> kWanted = wanted();
  if (!kWanted || done.load(std::memory_order_relaxed)) return;
  if (kWanted->rank >= 0 && kWanted->rank != rank) return;
  if (kWanted->step >= 0 && kWanted->step != step) return;
  if (kWanted->phase && *kWanted->phase != phase) return;
  if (done.exchange(true)) return;
  happen(kWanted->what);
}

bool take_nan() noexcept {
  const bool due = nan_due.exchange(false);
  if (due) tell();
  return due;
}
int take_file_error() noexcept {
  const int error = file_error_due.exchange(0);
  if (error != 0) tell();
  return error;
}
std::int64_t clock_ahead_ns() noexcept { return ahead_ns; }

}  // namespace muster::fault

#else

namespace muster::fault {

bool compiled() noexcept { return false; }
void at(Phase, int, std::int64_t) {}
bool take_nan() noexcept { return false; }
int take_file_error() noexcept { return 0; }
std::int64_t clock_ahead_ns() noexcept { return 0; }

}  // namespace muster::fault

#endif
