// Stop anywhere, continue on any number of ranks, end with the same bits.
#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "trainer/show/metrics.h"
#include "trainer/tiny_run.h"

using namespace muster;
using namespace muster::test;

TEST_CASE(
    "a stopped run continues from its checkpoint on 1, 2 or 4 ranks with the same losses and bits",
    "[ranks][fault]") {
  const std::string constant =
      "schedule.kind=constant";  // so that a shorter first part has the same rates
  const TempDir whole_dir;
  const RunResult whole = run_threads(tiny_config(whole_dir.path(), {constant}), 2).front();

  for (const int ranks : {1, 2, 4}) {
    CAPTURE(ranks);
    const TempDir dir;
    run_threads(tiny_config(dir.path(), {constant, "schedule.max_steps=10"}), 2);
    const RunResult rest = run_threads(tiny_config(dir.path(), {constant}), ranks).front();
    CHECK(rest.parameters == whole.parameters);
    CHECK(rest.losses == std::vector<double>(whole.losses.begin() + 10, whole.losses.end()));

    std::vector<double> logged;
    for (const auto& row : trainer::read_metrics(dir.path() / "metrics.jsonl")) {
      if (row.contains("loss")) logged.push_back(row.at("loss"));
    }
    CHECK(logged == whole.losses);  // no step twice, none missing
  }
}

TEST_CASE("an augmented run continues with the same bits, before and after augmentation ends",
          "[ranks][fault]") {
  const std::string constant = "schedule.kind=constant";
  for (const int stop : {9, 17}) {  // augmentation ends at step 15 of 20
    CAPTURE(stop);
    const TempDir whole_dir;
    const RunResult whole =
        run_threads(tiny_config(whole_dir.path(), augmented({constant})), 2).front();
    const TempDir dir;
    // The first part is shorter, and its share of steps ends at 15, too, or never.
    const std::string close =
        stop < 15 ? "data.augment.close_after=1" : "data.augment.close_after=0.88";  // of 17
    run_threads(
        tiny_config(dir.path(),
                    augmented({constant, "schedule.max_steps=" + std::to_string(stop), close})),
        1);
    const RunResult rest = run_threads(tiny_config(dir.path(), augmented({constant})), 4).front();
    CHECK(rest.parameters == whole.parameters);
    CHECK(rest.losses == std::vector<double>(whole.losses.begin() + stop, whole.losses.end()));
  }
}

TEST_CASE("a run on another pack refuses the checkpoint", "[ranks][fault]") {
  const TempDir dir;
  run_threads(tiny_config(dir.path(), {"schedule.max_steps=10"}), 1);
  const std::string other = "data.train=" + (TinyData::instance().folder() / "val.h5").string();
  CHECK_THROWS_AS(run_threads(tiny_config(dir.path(), {other}), 1), CheckpointError);
}
