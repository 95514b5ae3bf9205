// How many threads LibTorch's operations on the CPU take, for as long as a scope lasts.
#pragma once

namespace muster {

// LibTorch keeps that number for each thread that calls it (OpenMP and MKL have one of their own
// for each), and one for the process, with which a thread starts when it first asks. Setting it
// changes both. So a scope that surrounds the life of some threads, each of which has a scope of
// the same number in it, leaves neither the caller's number nor the process's changed.
class ComputeThreads {
 public:
  explicit ComputeThreads(int count);
  ~ComputeThreads();
  ComputeThreads(const ComputeThreads&) = delete;
  ComputeThreads& operator=(const ComputeThreads&) = delete;

 private:
  int before_;
};

}  // namespace muster
