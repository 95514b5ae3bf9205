#include "trainer/show/metrics.h"

#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "trainer/show/progress_line.h"

using namespace muster;
using namespace muster::trainer;

TEST_CASE("a metrics line keeps the order given and writes whole numbers plainly", "[unit]") {
  CHECK(metrics_line({{"step", 120}, {"loss", 1.5}, {"lr.merger", 1e-5}}) ==
        R"({"step": 120, "loss": 1.5, "lr.merger": 1e-05})");
  CHECK(metrics_line({{"step", 1},
                      {"loss", std::nan("")},
                      {"grad_norm", std::numeric_limits<double>::infinity()}}) ==
        R"({"step": 1, "loss": null, "grad_norm": null})");
}

TEST_CASE("every number reads back to the same bits", "[unit]") {
  const TempDir dir;
  std::vector<double> written = {0.0,
                                 -0.0,
                                 0.1,
                                 1.0 / 3.0,
                                 1e22,
                                 5e-324,
                                 std::numeric_limits<double>::max(),
                                 9007199254740993.0};
  Rng rng(7);
  while (written.size() < 500) {
    const double value = std::bit_cast<double>(rng.next());
    if (std::isfinite(value)) written.push_back(value);
  }
  {
    MetricsLog log(dir.path() / "metrics.jsonl");
    for (std::size_t i = 0; i < written.size(); ++i)
      log.append({{"step", static_cast<double>(i)}, {"x", written[i]}});
  }
  const auto rows = read_metrics(dir.path() / "metrics.jsonl");
  REQUIRE(rows.size() == written.size());
  for (std::size_t i = 0; i < written.size(); ++i)
    CHECK(std::bit_cast<std::uint64_t>(rows[i].at("x")) ==
          std::bit_cast<std::uint64_t>(written[i]));
}

TEST_CASE("after truncate_after no step appears twice and evaluations go with their step",
          "[unit]") {
  const TempDir dir;
  const fs::path file = dir.path() / "run" / "metrics.jsonl";
  MetricsLog log(file);
  for (int step = 1; step <= 6; ++step) log.append({{"step", step}, {"loss", 1.0 * step}});
  log.append({{"step", 6}, {"eval.AP50", 0.5}});
  log.truncate_after(4);
  log.append({{"step", 5}, {"loss", 50}});  // through the reopened descriptor, into the new file

  const auto rows = read_metrics(file);
  REQUIRE(rows.size() == 5);
  for (int i = 0; i < 5; ++i) CHECK(rows[i].at("step") == i + 1);
  CHECK(rows.back().at("loss") == 50);
}

TEST_CASE("a line torn by a crash is dropped and the next process starts on a fresh line",
          "[fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "metrics.jsonl";
  std::ofstream(file) << "{\"step\": 1, \"loss\": null}\n{\"step\": 2, \"lo";
  REQUIRE(read_metrics(file).size() == 1);
  CHECK(std::isnan(read_metrics(file)[0].at("loss")));
  MetricsLog(file).append({{"step", 2}, {"loss", 3}});
  REQUIRE(read_metrics(file).size() == 2);
  CHECK(read_metrics(file)[1].at("loss") == 3);
}

TEST_CASE("damaged lines are left out, and go at the next resume", "[fault]") {
  const TempDir dir;
  const fs::path file = dir.path() / "metrics.jsonl";
  std::ofstream(file) << "{\"step\": 1}\n{\"step\": 2, \"lo\n{\"step\": \"3\"}\n[]\n"
                         "{\"step\": 4, \"note\": \"text\"}\n{\"step\": 5}\n{\"step\": 6}\n";
  const auto rows = read_metrics(file);
  REQUIRE(rows.size() == 3);
  CHECK(rows[1].at("step") == 5);
  MetricsLog log(file);
  log.truncate_after(5);
  CHECK(read_text(file) == "{\"step\": 1}\n{\"step\": 5}\n");
}

TEST_CASE("the progress line says everything in one line", "[unit]") {
  StepLine line{120, 600, 1.2344, 1e-3, 0.5199, 1234.4, 812LL << 20, 0.4};
  CHECK(progress_line(line) ==
        "step 120/600 loss 1.234 lr 1.0e-03 grad 0.52 1234 tok/s 812 MiB ETA 3m 12s");
  line.seconds_per_step = 0;
  line.memory_bytes = 81LL << 30;
  CHECK(progress_line(line) == "step 120/600 loss 1.234 lr 1.0e-03 grad 0.52 1234 tok/s 81.0 GiB");
  line.mfu = 0.405;
  CHECK_THAT(progress_line(line), Catch::Matchers::EndsWith("81.0 GiB MFU 40.5 %"));
  line.step = line.max_steps;
  line.seconds_per_step = 1;
  CHECK(progress_line(line).find("ETA") == std::string::npos);
}
