#include "sharding/plan/ledger.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>

namespace muster::sharding {

void Ledger::add(Kind kind, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  now_.*kind += bytes;
  peak_.*kind = std::max(peak_.*kind, now_.*kind);
}

at::Tensor Ledger::counted(const at::Tensor& tensor, Kind kind) {
  const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
  add(kind, bytes);
  const auto strike = [ledger = shared_from_this(), memory = tensor, kind, bytes](void*) {
    ledger->add(kind, -bytes);
  };
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), strike, tensor.options());
}

TransientBytes Ledger::now() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

TransientBytes Ledger::peak() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

void Ledger::restart() {
  const std::lock_guard lock(mutex_);
  peak_ = now_;
}

}  // namespace muster::sharding
