#include "launcher/supervise/run_owner.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <system_error>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process/atomic_file.h"
#include "base/process/signal_hub.h"
#include "launcher/rank/side_file.h"

namespace muster::launcher {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr milliseconds kLook{250};

fs::path claim_file(const fs::path& folder, std::int64_t number) {
  return folder / fmt::format("claim-{}", number);
}

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  in >> id;
  return id;
}

// Field 22 of /proc/PID/stat, behind the name in parentheses; 0 when there is no such process.
std::int64_t start_ticks_of(std::int64_t pid) {
  std::ifstream in(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(in, line);
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  constexpr int kStartTime = 20;  // counted from the field behind the name
  for (int i = 0; i < kStartTime; ++i) fields >> field;
  return std::atoll(field.c_str());
}

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string to_text(const Claim& claim) {
  const json value{{"host", claim.host},        {"boot_id", claim.boot_id},
                   {"pid", claim.pid},          {"start_ticks", claim.start_ticks},
                   {"since", claim.since},      {"beats", claim.beats},
                   {"released", claim.released}};
  return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

// Nothing when there is no such claim. A damaged one has no host: nobody can be asked.
std::optional<Claim> read_claim(const fs::path& file) {
  std::error_code absent;
  if (!fs::exists(file, absent)) return std::nullopt;
  const json value = read_side_file(file);
  return Claim{.host = short_text(value, "host"),
               .boot_id = short_text(value, "boot_id"),
               .pid = whole_number(value, "pid", 0, 1, kMost),
               .start_ticks = whole_number(value, "start_ticks", 0, 0, kMost),
               .since = short_text(value, "since"),
               .beats = whole_number(value, "beats", 0, 0, kMost),
               .released = flag(value, "released")};
}

bool here(const Claim& claim) { return claim.host == own_host() && !claim.host.empty(); }

bool lives_here(const Claim& claim) {
  return claim.boot_id == boot_id() && claim.start_ticks > 0 &&
         start_ticks_of(claim.pid) == claim.start_ticks;
}

std::string describe(const Claim& claim) {
  return fmt::format("process {} on {} since {}", claim.pid, claim.host, claim.since);
}

[[noreturn]] void refuse(const fs::path& folder, const Claim& owner) {
  const std::string end = here(owner) ? fmt::format("kill -INT {}", owner.pid)
                                      : fmt::format("ssh {} kill -INT {}", owner.host, owner.pid);
  throw UsageError(fmt::format(
      "{} is in use (R-026): by {}. Stop it with `{}`, choose another run.dir, or end it and take "
      "the run over with --take-over",
      folder.parent_path().string(), describe(owner), end));
}

enum class Seen { kGone, kAlive, kStill };

// Watches a claim until its owner is gone for sure, or has not beaten for `limit`, or, unless that
// is not the question, until its next beat.
Seen watch(const fs::path& file, const Claim& claim, milliseconds limit, bool until_gone) {
  auto until = steady_clock::now() + limit;
  Claim newest = claim;
  while (steady_clock::now() < until) {
    if (const auto seen = read_claim(file)) {
      const bool beats = seen->beats != newest.beats;
      newest = *seen;
      if (newest.released || (here(newest) && !lives_here(newest))) return Seen::kGone;
      if (beats && !until_gone) return Seen::kAlive;
      if (beats) until = steady_clock::now() + limit;
    }
    std::this_thread::sleep_for(std::min(kLook, limit));
  }
  return Seen::kStill;
}

double seconds(milliseconds time) { return static_cast<double>(time.count()) / 1000; }

// Of another host: alive when its beats go on.
bool is_gone(const fs::path& file, const Claim& claim, milliseconds limit) {
  if (here(claim)) return !lives_here(claim);
  log::info(
      "the run was started by {}: waiting up to {:.0f} s for a sign of it (--take-over does "
      "not ask)",
      describe(claim), seconds(limit));
  return watch(file, claim, limit, /*until_gone=*/false) != Seen::kAlive;
}

// The run is ours by right; before anything is written the earlier owner has to have ended.
void wait_for_end(const fs::path& file, const Claim& claim, milliseconds limit) {
  log::warn("--take-over: waiting for {} to end its ranks", describe(claim));
  const Seen end = watch(file, claim, limit, /*until_gone=*/true);
  if (end == Seen::kStill && here(claim))
    throw UsageError(fmt::format(
        "{} does not end (R-026), although the run was taken from it; `kill -9 {}` and try again",
        describe(claim), claim.pid));
}

// Says whether somebody has to be waited for; throws when the run is somebody's.
bool must_end(const fs::path& file, const Claim& owner, const ClaimOptions& options) {
  if (owner.released) return false;
  if (owner.host.empty()) {
    log::warn("{}: damaged (R-029); nobody can be asked, so the run is taken over", file.string());
    return false;
  }
  if (here(owner) && !lives_here(owner)) return false;
  if (options.take_over) return true;
  if (!is_gone(file, owner, options.dead_after)) refuse(file.parent_path(), owner);
  log::info("the run's earlier owner, {}, is gone", describe(owner));
  return false;
}

// The highest number that a listing shows. A listing may be old: it is where to begin, no more.
std::int64_t highest_listed(const fs::path& folder) {
  std::int64_t highest = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("claim-"))
      highest = std::max<std::int64_t>(highest, std::atoll(name.c_str() + 6));
  }
  return highest;
}

// Makes the file whole or not at all; false when it is there already.
bool make_claim(const fs::path& folder, std::int64_t number, const Claim& claim) {
  const fs::path part = folder / fmt::format("part-{}-{}", claim.host, claim.pid);
  write_text(part, to_text(claim));
  const int made = ::link(part.c_str(), claim_file(folder, number).c_str());
  const int error = errno;
  std::error_code ignored;
  fs::remove(part, ignored);
  if (made == 0) return true;
  if (error == EEXIST) return false;
  throw IoError(
      fmt::format("{}: cannot claim the run folder: {}", folder.string(), std::strerror(error)));
}

}  // namespace

RunOwner::RunOwner(const fs::path& run_dir, const ClaimOptions& options)
    : folder_(run_dir / "owner"), options_(options) {
  fs::create_directories(folder_);
  own_ = {.host = own_host(),
          .boot_id = boot_id(),
          .pid = ::getpid(),
          .start_ticks = start_ticks_of(::getpid()),
          .since = local_time()};
  std::optional<std::pair<fs::path, Claim>> to_end;
  number_ = std::max<std::int64_t>(highest_listed(folder_), 1);
  const auto until = steady_clock::now() + options_.dead_after;
  for (;;) {
    const fs::path file = claim_file(folder_, number_);
    if (const auto owner = read_claim(file)) {
      if (!read_claim(claim_file(folder_, number_ + 1)) && must_end(file, *owner, options_))
        to_end.emplace(file, *owner);
      ++number_;
    } else if (make_claim(folder_, number_, own_)) {
      break;
    } else if (steady_clock::now() > until) {
      throw IoError(fmt::format("{}: exists, but cannot be seen from here", file.string()));
    } else {
      std::this_thread::sleep_for(kLook);  // somebody was faster: look at who it is
    }
  }
  if (to_end) wait_for_end(to_end->first, to_end->second, options_.dead_after);
  start_beating();
}

void RunOwner::start_beating() {
  beating_ = thread_without_signals([this] { beat_until_stopped(); });
}

RunOwner::~RunOwner() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  beating_.join();
  try {
    write_claim(true);
  } catch (const std::exception& error) {
    log::warn("cannot release the run folder: {}", error.what());
  }
}

void RunOwner::write_claim(bool released) {
  own_.released = released;
  write_text(claim_file(folder_, number_), to_text(own_));
}

std::string RunOwner::successor() const {
  const auto next = read_claim(claim_file(folder_, number_ + 1));
  return next ? describe(*next) : "";
}

void RunOwner::beat_until_stopped() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, options_.beat_every, [this] { return stopping_; })) {
    std::error_code absent;
    if (fs::exists(claim_file(folder_, number_ + 1), absent)) {
      superseded_ = true;
      return;
    }
    ++own_.beats;
    try {
      write_claim(false);
    } catch (const std::exception& error) {
      log::warn("cannot renew the claim on the run folder: {}", error.what());
    }
  }
}

}  // namespace muster::launcher
