#include "launcher/rank/world.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>
#include <string>

#include "base/error.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

WorldEnvironment world_of(const std::map<std::string, std::string>& variables) {
  return world_from_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("world: mpirun, srun, by hand, and starts that cannot work", "[unit]") {
  CHECK(!world_of({}).launched());
  CHECK(!world_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}})
             .launched());  // inside a batch script
  const auto mpirun =
      world_of({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}});
  CHECK(mpirun.by == "mpirun");
  CHECK(mpirun.rank == 3);
  CHECK(mpirun.world_size == 4);
  const auto srun =
      world_of({{"PMIX_RANK", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_LOCALID", "1"}});
  CHECK(srun.by == "srun");
  CHECK(srun.world_size == 2);
  CHECK(srun.local_rank == 1);
  CHECK_THROWS_AS(world_of({{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}}), PreflightError);
  CHECK_THROWS_AS(world_of({{"PMI_SIZE", "2"}, {"PMI_RANK", "0"}}),
                  PreflightError);  // another vendor's mpirun
}

TEST_CASE("world: ranks that do not divide the step are refused with the counts that work",
          "[unit]") {
  for (const int n : {1, 2, 4, 8}) CHECK_NOTHROW(check_world(n, 8));
  CHECK_THROWS_AS(check_world(0, 8), UsageError);
  CHECK_THROWS_WITH(check_world(3, 8), ContainsSubstring("1, 2, 4, 8") &&
                                           ContainsSubstring("launch CONFIG -n 2") &&
                                           ContainsSubstring("micro_batches_per_step=9") &&
                                           ContainsSubstring("R-011"));
  CHECK_THROWS_WITH(check_world(16, 8), ContainsSubstring("launch CONFIG -n 8"));
}
