#include "trainer/show/report/report.h"

#include <fmt/core.h>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "trainer/show/adapter_facts.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/report/curves.h"
#include "trainer/show/report/history.h"
#include "trainer/show/report/page.h"
#include "trainer/show/report/pictures.h"
#include "trainer/show/report/quality.h"
#include "trainer/show/report/run_folder.h"

namespace muster::trainer {
namespace {

std::string best_tile(const RunFolder& run, std::string_view name) {
  const std::optional<BestValue> best = best_ap(run, name);
  if (!best) return "";
  return tile(fmt::format("best {}, step {:.0f}", name, best->step),
              fmt::format("{:.3f}", best->value));
}

std::string threshold_tile(const RunFolder& run) {
  if (!run.evaluation || run.evaluation->all.best.f1() == 0) return "";
  const OperatingPoint& best = run.evaluation->all.best;
  return tile(fmt::format("best F1, at a score of {:.3g}", best.threshold),
              fmt::format("{:.3f}", best.f1()));
}

// The first screen: the answer, and how it came about.
std::string answer(const RunFolder& run) {
  const std::string curve = ap_curve(run);
  const std::string best =
      best_tile(run, metric::kAp) + best_tile(run, metric::kAp50) + threshold_tile(run);
  if (best.empty() && curve.empty()) return "";
  return "<section class=\"answer\"><dl class=\"tiles\">\n" + best + "</dl>\n" + curve +
         "</section>\n";
}

// Of a LoRA run: what its adapters are, where they stand, and how little of the model trains.
std::string adapter_tiles(const fs::path& run_dir) {
  const std::optional<AdapterFacts> facts = read_adapter_facts(run_dir);
  if (!facts || facts->total <= 0) return "";
  const auto trained = static_cast<double>(facts->trained);
  const auto total = static_cast<double>(facts->total);
  return tile(fmt::format("{} on {}", facts->kind, join(facts->targets, ", ")),
              fmt::format("rank {}, alpha {}", facts->rank, facts->alpha)) +
         tile(fmt::format("trained of {} parameters", short_number(total)),
              fmt::format("{} ({:.2g} %)", short_number(trained), 100 * trained / total));
}

std::string tiles(const RunFolder& run) {
  std::string text;
  if (const auto loss = last_of(run.rows, metric::kLoss))
    text += tile("last loss", short_number(*loss));
  if (const auto loss = best_of(run.rows, metric::kEvalLoss, /*lowest=*/true))
    text +=
        tile(fmt::format("lowest val loss, step {:.0f}", loss->step), short_number(loss->value));
  text += tile("steps", fmt::format("{:.0f}", last_of(run.rows, metric::kStep).value_or(0)));
  if (const auto epoch = last_of(run.rows, metric::kEpoch); epoch && *epoch > 0)
    text += tile("epochs begun", fmt::format("{:.0f}", *epoch + 1));
  if (run.ranks > 0) text += tile("ranks", fmt::format("{}", run.ranks));
  if (num_restarts(run) > 0) text += tile("restarts", fmt::format("{}", num_restarts(run)));
  const double seconds = sum_of(run.rows, metric::kSeconds);
  text += tile("time in steps", human_seconds(seconds));
  text += tile("images", short_number(sum_of(run.rows, metric::kImages)));
  if (seconds > 0) {
    const double throughput = sum_of(run.rows, metric::kTokens) / seconds;
    text += tile("mean throughput", short_number(throughput) + " tok/s");
  }
  text += adapter_tiles(run.path);
  return "<dl class=\"tiles\">\n" + text + "</dl>\n";
}

std::string config_section(const std::string& yaml) {
  if (yaml.empty()) return "";
  return "<h2>Config</h2>\n<details class=\"card\"><summary>config.yaml, as "
         "resolved</summary><pre>" +
         escape_html(yaml) + "</pre></details>\n";
}

}  // namespace

std::string render_report(const fs::path& run_dir) {
  const RunFolder run = read_run_folder(run_dir);
  return page_head(run.name, fs::absolute(run_dir).lexically_normal().string()) + answer(run) +
         tiles(run) + quality_section(run) + pictures_section(run) + curves_section(run) +
         time_section(run) + metrics_section(run) + history_section(run) +
         config_section(run.config) + page_end();
}

fs::path write_report(const fs::path& run_dir) {
  const fs::path file = run_dir / "report.html";
  write_text(file, render_report(run_dir));
  return file;
}

}  // namespace muster::trainer
