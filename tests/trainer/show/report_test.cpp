#include "trainer/show/report.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/pattern.h"
#include "base/process/atomic_file.h"
#include "trainer/show/adapter_facts.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"
#include "trainer/show/overlay.h"
#include "trainer/show/svg_chart.h"

using namespace muster;
using namespace muster::trainer;
using Catch::Matchers::ContainsSubstring;

namespace {

// A made-up but plausible run. MUSTER_KEEP_REPORT=DIR leaves it there to be looked at.
void write_run(const fs::path& run) {
  MetricsLog log(run / "metrics.jsonl");
  for (int step = 1; step <= 600; ++step) {
    const double warm = std::min(1.0, step / 30.0),
                 decay = 0.5 * (1 + std::cos(3.14159 * step / 600));
    const double noise = std::sin(step * 1.7) * 0.04;
    const double lm = 2.4 * std::exp(-step / 150.0) + 0.2 + noise,
                 box = 1.6 * std::exp(-step / 220.0) + 0.1 - noise / 2;
    log.append(
        {{"step", step},
         {"epoch", step / 100},
         {"loss", lm + box},
         {"loss.lm", lm},
         {"loss.box_l1", box},
         {"lr.merger", 1e-4 * warm * decay},
         {"lr.visual", 1e-5 * warm * decay},
         {"grad_norm", step == 300 ? std::nan("") : 0.4 + 4 * std::exp(-step / 60.0) + noise},
         {"tokens", 4096},
         {"images", 8},
         {"tokens_per_s", 9000 + 800 * noise},
         {"seconds", 0.45},
         {"seconds.data", 0.02},
         {"seconds.forward", 0.15 + noise / 4},
         {"seconds.backward", 0.22},
         {"seconds.optimizer", 0.06},
         {"memory_bytes", 812.0 * 1024 * 1024}});
    if (step % 100 == 0)
      log.append({{"step", step}, {"eval.AP", step / 900.0}, {"eval.AP50", step / 650.0}});
  }
  write_text(run / "config.yaml", "run:\n  dir: \"runs/<demo>\"\n");
  fs::create_directories(run / "predictions");
  fs::create_directories(run / "black_box");
  write_text(run / "black_box" / "rank-0.status", R"({"rank": 0, "world_size": 2})");
  LabelFont font;
  for (int i = 0; i < 4; ++i) {
    RgbImage image{480, 360, std::vector<std::uint8_t>(480 * 360 * 3)};
    for (std::size_t p = 0; p < image.pixels.size(); ++p)
      image.pixels[p] = static_cast<std::uint8_t>(60 + p / 3 % 480 / 4 + 20 * i);
    draw_boxes(image,
               std::vector<OverlayBox>{{{40, 60, 220, 200}, "red circle 0.98", 0},
                                       {{180, 120, 430, 330}, "blue square 0.91", 1},
                                       {{2, 2, 90, 50}, "green star 0.55", 2}},
               font);
    write_png(run / "predictions" / ("image-" + std::to_string(i) + ".png"), image);
  }
  write_text(run / "predictions" / "image-0.txt", "two shapes & a star");
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("the report is one file that needs nothing else", "[unit]") {
  const TempDir dir;
  const char* keep = std::getenv("MUSTER_KEEP_REPORT");
  const fs::path run = keep != nullptr ? fs::path(keep) / "demo" : dir.path() / "demo";
  write_run(run);
  const std::string html = read_text(write_report(run));
  CHECK_FALSE(
      Pattern("https?://|<script|<link|@import").found_in(html.substr(0, html.find("base64"))));
  CHECK(count(html, "<svg") == 8);
  CHECK(count(html, "<svg") == count(html, "</svg>"));
  CHECK(count(html, "<figure") == count(html, "</figure>"));
  CHECK(count(html, "<g class") == count(html, "</g>"));
  CHECK(count(html, "data:image/png;base64,iVBORw0KGgo") == 4);
  CHECK_THAT(
      html, ContainsSubstring("two shapes &amp; a star") && ContainsSubstring("runs/&lt;demo&gt;"));
  CHECK_THAT(html, ContainsSubstring("best AP, step 600") && ContainsSubstring("<dd>0.667</dd>"));
  CHECK_THAT(html, ContainsSubstring("<dt>ranks</dt><dd>2</dd>"));
  const std::string curves = html.substr(html.find("<h2>Curves"));  // behind the pictures' base64
  CHECK_FALSE(Pattern("\\bnan\\b|\\binf\\b").found_in(curves));
}

TEST_CASE("the report of a LoRA run says rank, targets and how much of the model trains",
          "[unit]") {
  const TempDir dir;
  const MetricsLog log(dir.path() / "metrics.jsonl");
  CHECK(render_report(dir.path()).find("LoRA") == std::string::npos);
  write_adapter_facts(dir.path(), {.kind = "LoRA",
                                   .rank = 16,
                                   .alpha = 32,
                                   .targets = {"q_proj", "visual: qkv"},
                                   .trained = 40'400'000,
                                   .total = 8'080'000'000});
  const std::string html = render_report(dir.path());
  CHECK_THAT(html, ContainsSubstring("<dt>LoRA on q_proj, visual: qkv</dt>"));
  CHECK_THAT(html, ContainsSubstring("<dd>rank 16, alpha 32</dd>"));
  CHECK_THAT(html, ContainsSubstring("<dd>40.4M (0.5 %)</dd>"));
  for (const char* damaged : {"", "{", "[]", R"({"rank": "x"})"}) {
    write_text(dir.path() / "adapters.json", damaged);
    CHECK(render_report(dir.path()).find("LoRA") == std::string::npos);
  }
}

TEST_CASE("a run of one step, or of evaluations only, still renders", "[unit]") {
  const TempDir dir;
  MetricsLog log(dir.path() / "metrics.jsonl");
  CHECK_NOTHROW(render_report(dir.path()));
  log.append({{"step", 1}, {"loss", std::nan("")}, {"seconds", 1}, {"seconds.data", 0}});
  CHECK(render_report(dir.path()).find("nan ") == std::string::npos);
  log.append({{"step", 1}, {"eval.AP", 0}});
  CHECK_THAT(render_report(dir.path()), ContainsSubstring("Evaluation"));
}

TEST_CASE("what an evaluation cannot measure is no point of a chart and reads n/a", "[unit]") {
  const TempDir dir;
  MetricsLog log(dir.path() / "metrics.jsonl");
  for (int step = 1; step <= 3; ++step)
    log.append({{"step", step}, {"eval.AP", 0.1 * step}, {"eval.APl", -1}});
  const std::string html = render_report(dir.path());
  CHECK_THAT(html, ContainsSubstring("AP: 0.3"));  // the tooltip of the last step
  CHECK_THAT(html, !ContainsSubstring("APl: "));
  CHECK_THAT(html, !ContainsSubstring(">-1"));
  CHECK_THAT(html,
             ContainsSubstring("<td>APl</td><td class=\"n\">n/a</td><td class=\"n\">n/a</td>"));
}

TEST_CASE("loss terms are named as they are, and phases stand in the order of a step", "[unit]") {
  const TempDir dir;
  MetricsLog log(dir.path() / "metrics.jsonl");
  log.append({{"step", 1},
              {"loss", 2},
              {"loss.lm", 1},
              {"seconds.backward", 1},
              {"seconds.communication", 1},
              {"seconds.data", 1},
              {"seconds.forward", 1},
              {"seconds.optimizer", 1}});
  const std::string html = render_report(dir.path());
  CHECK_THAT(html, ContainsSubstring("Loss terms, unweighted"));
  std::size_t at = html.find("Step time by phase");
  for (const std::string_view phase : metric::kPhases) {
    INFO(phase);
    at = html.find("</i>" + std::string(phase), at);
    REQUIRE(at != std::string::npos);
  }
}

TEST_CASE("a folder without metrics says what is wanted", "[fault]") {
  const TempDir dir;
  CHECK_THROWS_AS(render_report(dir.path()), DataError);
}

TEST_CASE("thinning a long series keeps its spikes", "[unit]") {
  Series series{"loss", {}};
  for (int i = 0; i < 20000; ++i) {
    const double value = i % 100 == 0 ? std::nan("") : 1.0 + i % 7;
    series.points.emplace_back(i, value);
  }
  series.points[12345].second = 900;
  const std::string svg = render_chart({.title = "Loss", .series = {series}});
  CHECK(svg.size() < 120000);
  // The spike is the drawing's highest point: y of 900 within a padded range of 0..954.
  CHECK_THAT(svg, ContainsSubstring(" 21.9"));
}

TEST_CASE("charts without a finite point are left out", "[unit]") {
  CHECK(render_chart({.title = "Loss"}).empty());
  const Series gap{"a", {{1, std::nan("")}}};
  CHECK(render_chart({.title = "Loss", .series = {gap}, .allow_log = true}).empty());
}
