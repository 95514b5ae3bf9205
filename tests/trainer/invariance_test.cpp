// Law 9 on the whole loop: data, model, loss, engine.
#include <catch2/catch_test_macros.hpp>

#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;

namespace {

RunResult train(int ranks, const std::vector<std::string>& overrides = {}) {
  const TempDir dir;
  const std::vector<RunResult> results = run_threads(tiny_config(dir.path(), overrides), ranks);
  for (const RunResult& r : results) REQUIRE(r == results.front());
  REQUIRE(results.front().losses.size() == 20);
  return results.front();
}

}  // namespace

TEST_CASE("20 steps give the same bits on 1, 2 and 4 ranks", "[ranks]") {
  const RunResult one = train(1);
  CHECK(train(2) == one);
  CHECK(train(4) == one);
}

TEST_CASE("20 steps give the same bits for three bucket sizes, overlap on and off", "[ranks]") {
  const RunResult reference = train(2, {"sharding.overlap=false"});
  CHECK(train(2, {"sharding.bucket_bytes=860160"}) == reference);
  CHECK(train(2, {"sharding.bucket_bytes=67108864"}) == reference);
  CHECK(train(2, {"sharding.overlap=true"}) == reference);
}

TEST_CASE("negative control: another order of the same samples gives other bits", "[ranks]") {
  CHECK(train(2, {"run.seed=1"}).parameters != train(2).parameters);
}
