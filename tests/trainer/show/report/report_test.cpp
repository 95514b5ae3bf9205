#include "trainer/show/report/report.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/pattern.h"
#include "base/process/atomic_file.h"
#include "trainer/checkpoint/manifest/step_folders.h"
#include "trainer/show/adapter_facts.h"
#include "trainer/show/evaluation_record.h"
#include "trainer/show/judged_pictures.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"
#include "trainer/show/overlay.h"
#include "trainer/show/report/comparison.h"
#include "trainer/show/report/config_difference.h"
#include "trainer/show/report/run_folder.h"
#include "trainer/show/svg_chart.h"

using namespace muster;
using namespace muster::trainer;
using Catch::Matchers::ContainsSubstring;

namespace {

OperatingCurve made_up_curve(const std::string& name, std::int64_t truths, double quality) {
  OperatingCurve curve{.name = name, .truths = truths, .points = {}};
  for (int i = 1; i <= 60; ++i)
    curve.points.push_back({.threshold = 1 - i / 62.0,
                            .precision = 1 - (1 - quality) * std::pow(i / 60.0, 2),
                            .recall = quality * std::sqrt(i / 60.0)});
  return curve;
}

EvaluationRecord some_evaluation(double quality = 0.8) {
  EvaluationRecord record{.step = 600, .metrics = {{"AP", 0.667}, {"AP50", 0.92}}};
  record.all.curve = made_up_curve("", 120, quality);
  record.all.best = record.all.curve.best();
  for (const auto& [name, truths] : {std::pair("red circle", 70), std::pair("blue <square>", 50)}) {
    ClassRecord& one = record.classes.emplace_back();
    one.curve = made_up_curve(name, truths, quality - truths / 1000.0);
    one.best = one.curve.best();
    for (const std::string_view metric : metric::kCoco)
      one.metrics[std::string(metric)] = quality - truths / 200.0;
  }
  record.confusion = Confusion{.threshold = 0.4,
                               .names = {"red circle", "blue <square>", "background"},
                               .counts = {60, 3, 7, 2, 41, 7, 5, 9, 0}};
  return record;
}

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
      log.append({{"step", step},
                  {"eval.AP", step / 900.0},
                  {"eval.AP50", step / 650.0},
                  {"eval.best_F1", step / 700.0},
                  {"eval.loss", 3.0 - step / 300.0},
                  {"eval.loss.lm", 2.0 - step / 400.0},
                  {"eval.perplexity", 4.0 - step / 250.0}});
  }
  write_text(run / "evaluation.json", evaluation_to_json(some_evaluation()));
  write_text(run / "launch.json", R"({"ranks": 2, "attempts": [{"ending": "failed", "seconds": 61,
    "what": "rank 1 <left>"}, {"ending": "done", "seconds": 200, "what": ""}],
    "changes": [{"attempt": 1, "what": "batch.max_samples=1"}]})");
  write_text(run / "resumes.jsonl",
             R"({"step": 100, "epoch": 1, "ranks_before": 2, "ranks": 1, )"
             R"("changed": [{"key": "groups.model.lr", "from": "1e-4", "to": "5e-5"}]})"
             "\n{torn");
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
  CHECK(count(html, "<svg") == 14);
  CHECK(count(html, "<svg") == count(html, "</svg>"));
  CHECK(count(html, "<figure") == count(html, "</figure>"));
  CHECK(count(html, "<g class") == count(html, "</g>"));
  CHECK(count(html, "data:image/png;base64,iVBORw0KGgo") == 4);
  CHECK_THAT(
      html, ContainsSubstring("two shapes &amp; a star") && ContainsSubstring("runs/&lt;demo&gt;"));
  CHECK_THAT(html, ContainsSubstring("best AP, step 600") && ContainsSubstring("<dd>0.667</dd>"));
  CHECK_THAT(html, ContainsSubstring("<dt>ranks</dt><dd>2</dd>"));
  // Classes and thresholds, what became of the run, epochs below the steps.
  CHECK_THAT(html, ContainsSubstring("blue &lt;square&gt;") &&
                       ContainsSubstring("Confusion matrix") &&
                       ContainsSubstring("Precision over recall"));
  CHECK_THAT(html, ContainsSubstring("rank 1 &lt;left&gt;") &&
                       ContainsSubstring("<code>groups.model.lr</code>: 1e-4 &rarr; 5e-5") &&
                       ContainsSubstring("batch.max_samples=1"));
  CHECK_THAT(html, ContainsSubstring(">epoch 2</text>"));
  CHECK_THAT(html, ContainsSubstring("Where the time went"));
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

TEST_CASE("the evaluation that is shown is the best checkpoint's, not the newest", "[unit]") {
  const TempDir dir;
  write_run(dir.path());
  const fs::path checkpoints = dir.path() / "checkpoints";
  fs::create_directories(checkpoints / "step-000300");
  EvaluationRecord best = some_evaluation();
  best.step = 300;
  write_text(checkpoints / "step-000300" / "evaluation.json", evaluation_to_json(best));
  CHECK(read_run_folder(dir.path()).evaluation->step == 600);
  write_best(checkpoints, 300, 0.9, "eval.AP50");
  CHECK(read_run_folder(dir.path()).evaluation->step == 300);
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
              {"seconds.checkpoint", 1},
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

TEST_CASE("the answer comes first: the best AP, then its curve", "[unit]") {
  const TempDir dir;
  write_run(dir.path() / "demo");
  const std::string html = render_report(dir.path() / "demo");
  const std::size_t best = html.find("best AP, step 600");
  const std::size_t curve = html.find("Average precision on data.val");
  REQUIRE(best != std::string::npos);
  CHECK(best < curve);
  CHECK(curve < html.find("<dt>steps</dt>"));
}

TEST_CASE("judged pictures stand beside the truth, the worst first", "[unit]") {
  const TempDir dir;
  const fs::path run = dir.path() / "demo";
  write_run(run);
  fs::create_directories(run / "predictions" / "pictures");
  JudgedPictures all{.threshold = 0.3};
  for (const char* name : {"good", "bad"}) {
    JudgedPicture& picture =
        all.pictures.emplace_back(JudgedPicture{.name = name, .width = 40, .height = 30});
    picture.file = std::string("pictures/") + name + ".jpg";
    write_text(run / "predictions" / picture.file, "not looked into");
    const bool good = picture.name == "good";
    picture.truth = {{.box = {1, 2, 9, 8},
                      .label = "<cell>",
                      .verdict = good ? BoxVerdict::kFound : BoxVerdict::kMissed}};
    picture.predicted = {{.box = {1, 2, 9, 8},
                          .label = "cell",
                          .score = 0.75,
                          .verdict = good ? BoxVerdict::kFound : BoxVerdict::kFalse}};
  }
  write_text(run / "predictions" / "judged.json", judged_to_json(all));
  const std::string html = render_report(run);
  CHECK(html.find("bad <small>0 found, 1 false, 1 missed") <
        html.find("good <small>1 found, 0 false, 0 missed"));
  CHECK_THAT(html, ContainsSubstring("&lt;cell&gt;") && !ContainsSubstring("<cell>"));
  CHECK(count(html, "<image ") == 2);
}

TEST_CASE("runs are compared: curves over each other, what differs, gains by class", "[unit]") {
  const TempDir dir;
  const char* keep = std::getenv("MUSTER_KEEP_REPORT");
  const fs::path root = keep != nullptr ? fs::path(keep) : dir.path();
  std::vector<fs::path> runs;
  for (const char* name : {"plain", "augmented", "ema"}) {
    runs.push_back(root / name);
    write_run(runs.back());
  }
  write_text(runs[1] / "config.yaml",
             "run:\n  dir: x\ndata:\n  augment: {flip: 0.5}\nschedule: {max_steps: 600}\n");
  write_text(runs[0] / "config.yaml",
             "run:\n  dir: x\ndata:\n  augment: {flip: 0}\nschedule: {max_steps: 600}\n");
  write_text(runs[2] / "config.yaml", "a: [b");  // no YAML: it has no keys
  write_text(runs[1] / "evaluation.json", evaluation_to_json(some_evaluation(0.9)));
  const std::string html = render_comparison(runs);
  if (keep != nullptr) write_text(root / "comparison.html", html);
  CHECK_FALSE(Pattern("https?://|<script|<link|@import").found_in(html));
  CHECK_THAT(html, ContainsSubstring("<code>data.augment.flip</code>") &&
                       ContainsSubstring("<code>0.5</code>"));
  CHECK_THAT(html, ContainsSubstring("class=\"better\">+0.100</small>"));
  CHECK_THAT(html, ContainsSubstring("</i>augmented <b>"));
  CHECK(count(html, "<svg") == count(html, "</svg>"));
}

TEST_CASE("settings that are the same are no difference", "[unit]") {
  CHECK(config_differences({"a: 1\nb: {c: [1, 2]}\n", "b: {c: [1, 2]}\na: 1\n"}).empty());
  const auto found = config_differences({"a: 1\n", "a: 2\nb: 3\n"});
  REQUIRE(found.size() == 2);
  CHECK(found[0].key == "a");
  CHECK(found[1].values == std::vector<std::string>{"", "3"});
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
  CHECK_THAT(svg, ContainsSubstring(" 21.0"));
}

TEST_CASE("charts without a finite point are left out", "[unit]") {
  CHECK(render_chart({.title = "Loss"}).empty());
  const Series gap{"a", {{1, std::nan("")}}};
  CHECK(render_chart({.title = "Loss", .series = {gap}, .allow_log = true}).empty());
}
