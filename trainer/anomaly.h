// Where the first NaN of a micro-batch is made: every operation of forward and backward is looked
// at while a watch lives. Slow, and meant for one micro-batch (W-002).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace muster::trainer {

struct Anomaly {
  std::string operation;  // "aten::log"
  std::string results;    // "Float [12, 4]"
  std::string block;      // of the model, whose forward ran or is differentiated; "" unknown
  bool in_backward = false;
  std::string forward;  // in backward: the operation that it differentiates; "" unknown

  // "aten::log, which gives Float [12, 4], in the forward of visual.blocks.3. made the first NaN"
  std::string text() const;
};

class AnomalyWatch {
 public:
  // One at a time.
  AnomalyWatch();
  ~AnomalyWatch();
  AnomalyWatch(const AnomalyWatch&) = delete;
  AnomalyWatch& operator=(const AnomalyWatch&) = delete;

  // The forward comes to this block of the model.
  void enter(std::string_view block);

  // The first operation whose results hold NaN. What weights and inputs hold is looked at elsewhere
  // (finite_weights.h).
  std::optional<Anomaly> first() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::trainer
