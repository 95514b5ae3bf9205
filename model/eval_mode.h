// A detector in evaluation mode, for as long as a scope lasts.
#pragma once

#include "model/detector.h"

namespace muster::model {

// Leaves the detector as it found it, also when an exception ends the scope. Keeps a reference.
class EvalMode {
 public:
  explicit EvalMode(Detector& detector) : detector_(detector), was_training_(detector.training()) {
    detector_.set_training(false);
  }
  ~EvalMode() { detector_.set_training(was_training_); }
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  Detector& detector_;
  bool was_training_;
};

}  // namespace muster::model
