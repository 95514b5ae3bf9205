// Every byte the engine holds for a while only: who holds it now, and the most of the step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>

namespace muster::sharding {

struct TransientBytes {
  std::int64_t staging = 0;    // send buffers, being filled, on the wire, or waiting
  std::int64_t receive = 0;    // what arrives, until it is added to the shard
  std::int64_t gradient = 0;   // a whole gradient, from autograd until its hook has copied it
  std::int64_t consensus = 0;  // the one message per step
  std::int64_t snapshot = 0;   // a checkpoint's copy of the shard, until it is written
  std::int64_t total() const { return staging + receive + gradient + consensus + snapshot; }
};

// Threads may use it freely. Gathers and native reductions work in place and have no entry.
class Ledger : public std::enable_shared_from_this<Ledger> {
 public:
  using Kind = std::int64_t TransientBytes::*;

  void add(Kind kind, std::int64_t bytes);
  // The same memory as a tensor that is struck from the books when it is freed.
  at::Tensor counted(const at::Tensor& tensor, Kind kind);

  TransientBytes now() const;
  // The most per kind since the last restart; their total may never have been held at once.
  TransientBytes peak() const;
  void restart();

 private:
  mutable std::mutex mutex_;
  TransientBytes now_;
  TransientBytes peak_;
};

// Keeps bytes on the books for a scope. The ledger must outlive it.
class LedgerEntry {
 public:
  LedgerEntry(Ledger& ledger, Ledger::Kind kind, std::int64_t bytes)
      : ledger_(ledger), kind_(kind), bytes_(bytes) {
    ledger_.add(kind_, bytes_);
  }
  ~LedgerEntry() { ledger_.add(kind_, -bytes_); }
  LedgerEntry(const LedgerEntry&) = delete;
  LedgerEntry& operator=(const LedgerEntry&) = delete;

 private:
  Ledger& ledger_;
  Ledger::Kind kind_;
  std::int64_t bytes_;
};

}  // namespace muster::sharding
