// Law 9 under mpirun: the whole loop over MPI gives the bits of one process alone.
#include <catch2/catch_test_macros.hpp>

#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;

namespace {

RunResult train(const std::shared_ptr<sharding::Collective>& collective, const fs::path& run_dir,
                const std::vector<std::string>& overrides = {}) {
  RunResult result;
  trainer::Trainer trainer(tiny_config(run_dir, overrides), collective);
  trainer.set_step_observer([&](const trainer::StepStats& stats) {
    result.losses.push_back(stats.loss.total);
    result.norms.push_back(stats.grad_norm);
  });
  trainer.train();
  result.parameters = parameter_hash(trainer.detector());
  return result;
}

// One folder for all ranks, named by rank 0.
fs::path shared_folder(sharding::Collective& collective, const TempDir& mine) {
  std::string name = mine.path().string();
  name.resize(256);
  collective.broadcast(std::as_writable_bytes(std::span(name.data(), name.size())), 0);
  return name.c_str();
}

}  // namespace

TEST_CASE("20 steps over MPI, and through shared memory, give the bits of one process, overlap on and off", "[ranks]") {
  const std::shared_ptr<sharding::Collective> mpi = sharding::make_mpi(std::chrono::seconds(60));
  const TempDir alone_dir, first_dir, second_dir;
  const RunResult alone = train(sharding::make_self(), alone_dir.path());
  const RunResult over_mpi = train(mpi, shared_folder(*mpi, first_dir));
  CHECK(over_mpi == alone);
  CHECK(train(mpi, shared_folder(*mpi, second_dir), {"sharding.overlap=false"}) == alone);
  const std::shared_ptr<sharding::Collective> node =
      sharding::make_node(sharding::make_mpi(std::chrono::seconds(60)), std::chrono::seconds(60));
  const TempDir third_dir;
  CHECK(train(node, shared_folder(*mpi, third_dir)) == alone);
  std::vector<std::int64_t> done{1};
  mpi->all_reduce_sum(done);   // rank 0's folders outlive the other ranks' use of them
}
