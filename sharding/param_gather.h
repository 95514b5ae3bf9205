// Updated parameters, from their owners to every rank: one in-place all-gather per window of the
// flat parameter buffer.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string_view>
#include <vector>

#include "sharding/engine_core.h"

namespace muster::sharding {

class ParamGather {
 public:
  // flat: [padded elements], the parameters' memory. `core` must outlive this.
  ParamGather(EngineCore& core, at::Tensor flat);

  // [C] REQUIRES: this rank's slice of the window is written, or `before` writes it, on the queue's
  // thread. Windows go last to first: the forward needs the parameters that were registered first,
  // and those lie last.
  void start(int window, std::function<void()> before = {});
  void await(std::string_view prefix);
  void await_all();

 private:
  EngineCore& core_;
  at::Tensor flat_;
  std::vector<CommQueue::Ticket> tickets_;  // per window, of its newest gather
};

}  // namespace muster::sharding
