// Splits a step's wall time into phases and tells the flight recorder about each.
#pragma once

#include <chrono>
#include <exception>
#include <utility>

#include "base/flight_recorder.h"
#include "base/trace.h"
#include "sharding/tensor_meter.h"

namespace muster::trainer {

class StepTimer {
 public:
  struct Seconds {
    double data = 0, forward = 0, backward = 0, communication = 0, optimizer = 0;
    double checkpoint = 0;  // what the training waited for one, since the step before
    double other = 0;
    double total() const {
      return data + forward + backward + communication + optimizer + checkpoint + other;
    }
  };

  // Keeps a reference. The first phase is told as well: what fails in it has a place.
  explicit StepTimer(FlightRecorder& recorder) : recorder_(recorder) { recorder_.record(phase_); }

  // Ends the current phase and begins `phase`.
  void enter(Phase phase) {
    const auto now = Clock::now();
    bucket(phase_) += std::chrono::duration<double>(now - since_).count();
    trace::add("phase", phase_name(phase_), since_, now);
    since_ = now;
    phase_ = phase;
    recorder_.record(phase);
    sharding::TensorMeter::enter(phase);
  }
  Phase phase() const { return phase_; }
  // A phase that interrupts the one before, which goes on where the scope ends. When an exception
  // ends it, the flight recorder's last phase stays the one that failed.
  class Scope {
   public:
    Scope(StepTimer& timer, Phase phase)
        : timer_(timer), before_(timer.phase_), exceptions_(std::uncaught_exceptions()) {
      timer_.enter(phase);
    }
    ~Scope() {
      if (std::uncaught_exceptions() == exceptions_) timer_.enter(before_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    StepTimer& timer_;
    Phase before_;
    int exceptions_;
  };

  // Ends the step: returns its phases and starts from zero.
  Seconds lap() {
    enter(Phase::kIdle);
    return std::exchange(seconds_, Seconds{});
  }

 private:
  using Clock = std::chrono::steady_clock;

  double& bucket(Phase phase) {
    switch (phase) {
      case Phase::kData: return seconds_.data;
      case Phase::kForward: return seconds_.forward;
      case Phase::kBackward: return seconds_.backward;
      case Phase::kConsensus:
      case Phase::kReduce:
      case Phase::kGather: return seconds_.communication;
      case Phase::kOptimizer: return seconds_.optimizer;
      case Phase::kCheckpoint: return seconds_.checkpoint;
      default: return seconds_.other;
    }
  }

  FlightRecorder& recorder_;
  Phase phase_ = Phase::kStart;
  Clock::time_point since_ = Clock::now();
  Seconds seconds_;
};

}  // namespace muster::trainer
