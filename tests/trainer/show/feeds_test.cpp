// docs/feeds/*.py, each with a small program that stands for the dashboard's own module.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "support/test_paths.h"
#include "trainer/log_capture.h"
#include "trainer/show/line_feed.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("the feeds of docs/feeds tell their dashboards every step once, and nothing unmeasured",
          "[unit]") {
  for (const char* name : {"wandb", "mlflow", "swanlab"}) {
    INFO(name);
    const TempDir dir;
    const test::LogCapture captured;
    write_text(dir.path() / "config.yaml", "a: 1\n");
    const fs::path source = test::source_dir();
    {
      trainer::LineFeed feed(
          {.command = {"python3",
                       (source / "docs" / "feeds" / (std::string(name) + "_feed.py")).string()},
           .environment = {{"MUSTER_RUN_DIR", dir.path().string()},
                           {"PYTHONPATH", (source / "tests/trainer/show/fakes").string()},
                           {"PYTHONDONTWRITEBYTECODE", "1"},
                           {"TOLD", (dir.path() / "told").string()}}});
      feed.add(R"({"step": 1, "loss": 2.5, "grad_norm": null})");
      feed.add(R"({"step": 1, "eval.AP50": 0.5, "eval.APl": -1})");
      feed.add(R"({"step": 2, "eval.APl": -1})");
    }
    INFO(captured.text());
    CHECK(captured.text().empty());
    const std::string told = read_text(dir.path() / "told");
    CHECK_THAT(told, ContainsSubstring("[\"init\", ") && ContainsSubstring("\"finish\"]"));
    CHECK_THAT(told, ContainsSubstring("[\"log\", {\"loss\": 2.5}, 1]"));
    CHECK_THAT(told, ContainsSubstring("AP50\": 0.5}, 1]"));
    CHECK_THAT(told, !ContainsSubstring("APl") && !ContainsSubstring("grad_norm"));
  }
}
