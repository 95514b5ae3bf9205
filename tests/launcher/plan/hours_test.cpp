#include "launcher/plan/hours.h"

#include <fmt/core.h>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/files.h"
#include "base/process/atomic_file.h"

namespace muster::launcher {
namespace {

using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

constexpr trainer::LengthReport kRun{
    .steps = 3600, .steps_per_epoch = 36, .epochs = 100, .samples = 7200, .images = 7200};

struct Case {
  TempDir dir;
  configs::Config config{};

  Case() { config.run.dir = dir.path().string(); }
  void write_steps(int count) const {
    std::string text;
    for (int step = 1; step <= count; ++step)
      text += fmt::format("{{\"step\": {}, \"loss\": 1, \"seconds\": {}}}\n", step,
                          step == 1 ? 100 : 2);
    write_text(dir.path() / "metrics.jsonl", text + "{\"step\": 9, \"eval.AP\": 0.5}\n");
  }
  std::string text(std::optional<double> simulated_step_s = {}) const {
    return length_text(config, kRun, simulated_step_s);
  }
};

TEST_CASE("hours: from the run's own steps, else simulated, else said to be unknown", "[unit]") {
  const Case run;
  CHECK_THAT(run.text(), ContainsSubstring("3600 steps, 100 epochs of 36 steps, 7200 images\n") &&
                             ContainsSubstring("not known before the first steps"));
  CHECK_THAT(run.text(1.0), ContainsSubstring("about 1h 00m at 1 s a step, simulated"));
  run.write_steps(8);
  CHECK(measured_step_s(run.dir.path()) == Approx(2));  // not the first, which starts up
  CHECK_THAT(run.text(1.0), ContainsSubstring("2h 00m at 2 s a step, as the newest steps in"));
}

TEST_CASE("hours: one step says nothing yet, and neither does a run that has not begun", "[unit]") {
  const Case run;
  CHECK(!measured_step_s(run.dir.path()));
  run.write_steps(1);
  CHECK(!measured_step_s(run.dir.path()));
}

TEST_CASE("length: what is known without a pack", "[unit]") {
  Case run;
  const std::string steps = length_text(run.config, {.steps = 10}, {});
  CHECK_THAT(steps, ContainsSubstring("10 steps; epochs need data.train") &&
                        !ContainsSubstring("warning"));
  run.config.schedule.epochs = 5;
  CHECK_THAT(length_text(run.config, {}, {}),
             ContainsSubstring("5 epochs; steps and hours need data.train"));
}

}  // namespace
}  // namespace muster::launcher
