// One run, one owner (law 14): a run folder is used by one launch at a time.
//
// run_dir/owner/claim-<n> says who holds the run: host, process, since when, and a count of beats.
// The highest number counts. A claim is made by link(2), which one of several succeeds in on every
// file system, NFS too; nothing is ever locked and no listing of a folder is relied on.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace muster::launcher {

struct Claim {
  std::string host;
  std::string boot_id;  // of that machine's kernel: a process number means nothing after it
  std::int64_t pid = 0;
  std::int64_t start_ticks = 0;  // of that process, since its machine started
  std::string since;             // local time of its host, for people
  std::int64_t beats = 0;        // counts up while its process lives
  bool released = false;         // it ended and said so
};

struct ClaimOptions {
  // The run is taken from its owner, which sees that within a beat, ends its ranks and releases it;
  // that is waited for.
  bool take_over = false;
  // An owner on another host whose beats stand still for so long is dead. Longer than file systems
  // keep attributes (60 s on NFS).
  std::chrono::milliseconds dead_after{90'000};
  std::chrono::milliseconds beat_every{5'000};
};

class RunOwner {
 public:
  // Throws UsageError naming the owner when the run has one. An owner on this host whose
  // process is gone is no owner; one on another host is watched for `dead_after` at most, with a
  // word.
  RunOwner(const std::filesystem::path& run_dir, const ClaimOptions& options);
  ~RunOwner();  // releases the claim
  RunOwner(const RunOwner&) = delete;
  RunOwner& operator=(const RunOwner&) = delete;

  // Another launch took the run over: this one must end its ranks and write nothing more.
  bool superseded() const { return superseded_; }
  // Who that was, for messages; "" when nobody did.
  std::string successor() const;

 private:
  void start_beating();
  void beat_until_stopped();
  void write_claim(bool released);

  std::filesystem::path folder_;
  std::int64_t number_ = 0;
  Claim own_;
  ClaimOptions options_;
  std::atomic<bool> superseded_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread beating_;
};

}  // namespace muster::launcher
