#include "trainer/health.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>

#include "base/error.h"

using namespace muster;
using namespace muster::trainer;
using Catch::Matchers::ContainsSubstring;

namespace {

const LossTerms kTerms{configs::Loss{}, configs::Labels::kOpen};

configs::Health settings() { return {2, 10.0, 3, 0.5, 100.0, 0}; }

LossTerms::Report loss(double total) {
  LossTerms::Report report;
  report.total = total;
  report.terms.assign(static_cast<std::size_t>(kTerms.size()), total);
  return report;
}

sharding::StepVerdict good() {
  sharding::StepVerdict verdict;
  verdict.finite = true;
  verdict.grad_norm = 1;
  return verdict;
}

}  // namespace

TEST_CASE("a non-finite gradient skips the step and names rank and parameter", "[unit]") {
  Health health(settings());
  sharding::StepVerdict verdict = good();
  verdict.finite = false;
  verdict.culprit_rank = 3;
  verdict.culprit_param = "model.layers.1.mlp.up_proj.weight";
  CHECK_FALSE(health.accept(7, verdict, loss(1), kTerms));
  CHECK_THAT(health.reason(),
             ContainsSubstring("rank 3") && ContainsSubstring("model.layers.1.mlp.up_proj.weight"));
  CHECK(health.state().lr_scale == 0.5);
  CHECK(health.accept(8, good(), loss(1), kTerms));
}

TEST_CASE("a non-finite loss names its term; spikes and explosions are skipped", "[unit]") {
  Health health(settings());
  LossTerms::Report bad = loss(1);
  bad.terms[4] = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(health.accept(0, good(), bad, kTerms));
  CHECK_THAT(health.reason(), ContainsSubstring(kTerms.name(4)));

  for (int i = 0; i < 3; ++i) REQUIRE(health.accept(1 + i, good(), loss(1), kTerms));
  CHECK_FALSE(health.accept(4, good(), loss(11), kTerms));
  CHECK_THAT(health.reason(), ContainsSubstring("spike"));
  CHECK(health.accept(5, good(), loss(9), kTerms));

  sharding::StepVerdict large = good();
  large.grad_norm = 101;
  CHECK_FALSE(health.accept(6, large, loss(1), kTerms));
}

TEST_CASE("too many skips in a row abort with the numeric exit code", "[unit]") {
  Health health(settings());
  sharding::StepVerdict verdict = good();
  verdict.finite = false;
  CHECK_FALSE(health.accept(0, verdict, loss(1), kTerms));
  CHECK_FALSE(health.accept(1, verdict, loss(1), kTerms));
  try {
    health.accept(2, verdict, loss(1), kTerms);
    FAIL("the third skip in a row must abort");
  } catch (const NumericError& error) {
    CHECK(error.exit_code() == ExitCode::kNumeric);
  }
}
