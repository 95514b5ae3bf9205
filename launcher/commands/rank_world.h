// A command that does its work alone, or as one of several ranks: `mpirun -n N muster eval ...`.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "launcher/rendezvous/rendezvous.h"
#include "sharding/collectives/collective.h"

namespace muster::launcher {

class RankWorld {
 public:
  RankWorld();  // [C]

  bool first() const { return session_.info().rank == 0; }
  int local_rank() const { return session_.info().local_rank; }
  sharding::Collective& collective() { return *collective_; }
  // [C] What --threads asks for; with 0 this rank's part of its machine's cores, at least 1.
  int threads(int asked);

  // Calls `work`. What it throws is said once here when there are several ranks, and takes all of
  // them down with its code: the others may wait for this one.
  ExitCode run(const std::function<ExitCode()>& work);

 private:
  MpiSession session_;
  std::unique_ptr<sharding::Collective> collective_;
};

// How many processors the `own`-th of some ranks on one machine has for itself, rounded down, when
// each processor is shared by the ranks that may run on it. `cpus`: per rank those that it may run
// on.
int fair_share(std::span<const std::vector<int>> cpus, std::size_t own);

}  // namespace muster::launcher
