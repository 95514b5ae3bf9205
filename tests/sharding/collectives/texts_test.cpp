#include "sharding/collectives/texts.h"

#include <catch2/catch_test_macros.hpp>

#include "sharding/toy.h"

using namespace muster;
using namespace muster::sharding;

TEST_CASE("texts of any length travel between ranks", "[unit]") {
  std::mutex mutex;
  for (const int world : {1, 2, 3}) {
    test::on_ranks(world, [&](std::shared_ptr<Collective> collective) {
      const int rank = collective->rank();
      const std::string mine(static_cast<std::size_t>(rank) * 3, static_cast<char>('a' + rank));
      const std::vector<std::string> all = gather_texts(*collective, mine);
      const std::vector<std::string> none = gather_texts(*collective, "");
      const std::string told =
          broadcast_text(*collective, rank == world - 1 ? "from the last" : "mine", world - 1);
      const std::string nothing = broadcast_text(*collective, "", 0);
      const std::lock_guard lock(mutex);
      CHECK(all.size() == static_cast<std::size_t>(world));
      for (int r = 0; r < world; ++r)
        CHECK(all[static_cast<std::size_t>(r)] ==
              std::string(static_cast<std::size_t>(r) * 3, static_cast<char>('a' + r)));
      CHECK(none == std::vector<std::string>(static_cast<std::size_t>(world)));
      CHECK(told == "from the last");
      CHECK(nothing.empty());
    });
  }
}
