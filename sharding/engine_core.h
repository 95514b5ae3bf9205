// What the parts of one engine share. Owned by ZeroEngine and outlives them.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "sharding/collectives/collective.h"
#include "sharding/comm_queue.h"
#include "sharding/engine_options.h"
#include "sharding/kernels/kernels.h"
#include "sharding/layout/flat_space.h"
#include "sharding/layout/param_registry.h"
#include "sharding/plan/ledger.h"
#include "sharding/side_stream.h"

namespace muster::sharding {

class EngineCore {
 public:
  // Throws ConfigError for options or parameters the engine cannot train.
  EngineCore(ParamRegistry registry, std::shared_ptr<Collective> collective, EngineOptions options);

  const ParamRegistry registry;
  const std::shared_ptr<Collective> collective;
  const EngineOptions options;
  const FlatSpace space;
  const ShardLayout layout;
  const std::unique_ptr<Kernels> kernels;
  // A snapshot that is being written may outlive the engine and keeps the ledger.
  const std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>();

  const Param& param(int index) const { return registry.trainable()[index]; }
  int num_params() const { return static_cast<int>(registry.trainable().size()); }
  int rank() const { return collective->rank(); }
  int world_size() const { return collective->size(); }
  at::ScalarType param_type() const { return param(0).tensor.scalar_type(); }
  at::ScalarType wire_type() const;
  // The optimizer's state lies in other memory than the parameters.
  bool offloads() const;
  at::Tensor zeros(std::int64_t elements, at::ScalarType type) const;  // on the parameters' device
  at::Tensor empty(std::int64_t elements, at::ScalarType type) const;
  // [C] Zeros in memory that the ranks of a machine share; undefined where they cannot.
  at::Tensor shared(std::int64_t elements, at::ScalarType type) const;

  // Posts a job that issues one collective. The observer is told now and, once the job is known to
  // be done, again.
  CommQueue::Ticket post(int bucket, Phase phase, std::function<void()> job);
  void report_finished();

  CommQueue queue;  // last: its thread uses the members above

 private:
  struct InFlight {
    CommQueue::Ticket ticket;
    CollectiveEvent event;
  };

  SideStream stream_;  // none where one rank alone has nothing to send
  std::deque<InFlight> in_flight_;
  std::int64_t issued_ = 0;
};

std::span<std::byte> bytes_of(const at::Tensor& tensor);  // contiguous

// [C] CollectiveError on every rank, naming the first difference, unless all ranks built the same
// layout. Compares fixed-size hashes first, so that nothing whose size depends on the layout is
// exchanged before it is known to be the same.
void check_same_layout(Collective& collective, const std::string& mine);
std::string describe_layout(const EngineCore& core);  // one line per fact

}  // namespace muster::sharding
