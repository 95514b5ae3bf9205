#include "launcher/commands/rank_world.h"

#include <catch2/catch_test_macros.hpp>
#include <vector>

using namespace muster;

namespace {

using Cpus = std::vector<std::vector<int>>;

}  // namespace

TEST_CASE("threads: a processor is divided by the ranks that may run on it", "[unit]") {
  const Cpus alone{{0, 1, 2, 3}};
  CHECK(launcher::fair_share(alone, 0) == 4);
  const Cpus unbound{{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}};
  CHECK(launcher::fair_share(unbound, 1) == 1);
  const Cpus apart{{0, 1}, {2, 3, 4}};
  CHECK(launcher::fair_share(apart, 0) == 2);
  CHECK(launcher::fair_share(apart, 1) == 3);
  const Cpus sockets{{0, 1, 2, 3}, {0, 1, 2, 3}, {4, 5, 6, 7}};
  CHECK(launcher::fair_share(sockets, 1) == 2);
  CHECK(launcher::fair_share(sockets, 2) == 4);
  const Cpus crowded{{0}, {0}, {0}};
  CHECK(launcher::fair_share(crowded, 2) == 0);
}
