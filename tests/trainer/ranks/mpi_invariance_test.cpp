// Law 9 under mpirun: the whole loop over MPI gives the bits of one process alone.
#include <catch2/catch_test_macros.hpp>

#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;

namespace {

// One folder for all ranks, named by rank 0.
fs::path shared_folder(sharding::Collective& collective, const TempDir& mine) {
  std::string name = mine.path().string();
  name.resize(256);
  collective.broadcast(std::as_writable_bytes(std::span(name.data(), name.size())), 0);
  return name.c_str();
}

}  // namespace

TEST_CASE(
    "20 steps over MPI, and through shared memory, give the bits of one process, overlap on and "
    "off",
    "[ranks]") {
  const std::shared_ptr<sharding::Collective> mpi = sharding::make_mpi(std::chrono::seconds(60));
  const TempDir alone_dir, first_dir, second_dir;
  const RunResult alone = run_on(tiny_config(alone_dir.path()), sharding::make_self());
  const RunResult over_mpi = run_on(tiny_config(shared_folder(*mpi, first_dir)), mpi);
  CHECK(over_mpi == alone);
  CHECK(run_on(tiny_config(shared_folder(*mpi, second_dir), {"sharding.overlap=false"}), mpi) ==
        alone);
  const std::shared_ptr<sharding::Collective> node =
      sharding::make_node(sharding::make_mpi(std::chrono::seconds(60)), std::chrono::seconds(60));
  const TempDir third_dir;
  CHECK(run_on(tiny_config(shared_folder(*mpi, third_dir)), node) == alone);
  std::vector<std::int64_t> done{1};
  mpi->all_reduce_sum(done);  // rank 0's folders outlive the other ranks' use of them
}
