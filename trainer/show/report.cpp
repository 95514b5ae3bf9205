#include "trainer/show/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "base/version.h"
#include "trainer/show/base64.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"
#include "trainer/show/report_style.h"
#include "trainer/show/svg_chart.h"

namespace muster::trainer {
namespace {

using Rows = std::vector<std::map<std::string, double>>;

std::string read_if_there(const fs::path& file) { return fs::exists(file) ? read_text(file) : ""; }

// The points of one metric; none where an evaluation had nothing to measure.
Series series_of(const Rows& rows, std::string_view key, const std::string& name,
                 double scale = 1) {
  const bool evaluation = key.starts_with(metric::kEval);
  Series series{name, {}};
  for (const auto& row : rows) {
    const auto found = row.find(std::string(key));
    if (found == row.end() || (evaluation && !measured(found->second))) continue;
    series.points.emplace_back(row.at(std::string(metric::kStep)), found->second * scale);
  }
  return series;
}

// The names of the rows that start with `family`.
std::set<std::string> names_in(const Rows& rows, std::string_view family) {
  std::set<std::string> names;
  for (const auto& row : rows) {
    for (const auto& [name, value] : row) {
      if (name.starts_with(family)) names.insert(name);
    }
  }
  return names;
}

// Every metric of a family, as series named by what follows the prefix.
std::vector<Series> all_of(const Rows& rows, std::string_view family) {
  std::vector<Series> all;
  for (const std::string& name : names_in(rows, family)) {
    all.push_back(series_of(rows, name, name.substr(family.size())));
  }
  return all;
}

// The steps' phases in the order in which they happen; others follow by name. A row that lacks a
// phase counts as zero there, so that all series of a stack share their x.
std::vector<Series> phases(const Rows& rows) {
  std::map<std::string, double> zeros;
  for (const std::string& name : names_in(rows, metric::kPhaseSeconds)) zeros[name] = 0;
  Rows steps;
  for (const auto& row : rows) {
    if (!row.contains(std::string(metric::kLoss))) continue;
    steps.push_back(row);
    steps.back().insert(zeros.begin(), zeros.end());
  }
  std::vector<Series> all = all_of(steps, metric::kPhaseSeconds);
  std::ranges::stable_sort(all, {}, [](const Series& series) {
    return std::ranges::find(metric::kPhases, series.name) - metric::kPhases.begin();
  });
  return all;
}

// The terms that are in use: a switched-off one is zero throughout and would only take a colour.
std::vector<Series> loss_terms(const Rows& rows) {
  std::vector<Series> terms = all_of(rows, metric::kLossTerm);
  std::erase_if(terms, [](const Series& series) {
    return std::ranges::all_of(series.points, [](const auto& point) { return point.second == 0; });
  });
  return terms;
}

std::vector<Chart> all_charts(const Rows& rows) {
  constexpr double kMiB = 1024.0 * 1024.0;
  return {
      {.title = "Loss", .series = {series_of(rows, metric::kLoss, "total")}, .allow_log = true},
      {.title = "Loss terms, unweighted", .series = loss_terms(rows), .allow_log = true},
      {.title = "Evaluation", .series = all_of(rows, metric::kEval)},
      {.title = "Learning rate by group", .series = all_of(rows, metric::kLearningRate)},
      {.title = "Gradient norm",
       .series = {series_of(rows, metric::kGradNorm, "before clipping")},
       .allow_log = true},
      {.title = "Throughput",
       .unit = "tokens/s",
       .series = {series_of(rows, metric::kTokensPerSecond, "all ranks")}},
      {.title = "Step time by phase", .unit = "s", .series = phases(rows), .stacked = true},
      {.title = "Memory per rank",
       .unit = "MiB",
       .series = {series_of(rows, metric::kMemoryBytes, "in use", 1 / kMiB)}},
  };
}

std::string charts(const Rows& rows) {
  std::string text;
  for (const Chart& chart : all_charts(rows)) text += render_chart(chart);
  if (text.empty()) return "";
  return "<h2>Curves</h2>\n<section class=\"charts\">\n" + text + "</section>\n";
}

struct Best {
  double value = 0, step = 0;
};

// The highest measured value of an evaluation's metric.
std::optional<Best> best_of(const Rows& rows, const std::string& key) {
  std::optional<Best> best;
  for (const auto& [step, value] : series_of(rows, key, "").points) {
    if (!best || value > best->value) best = Best{value, step};
  }
  return best;
}

std::optional<double> last_of(const Rows& rows, std::string_view key) {
  const Series series = series_of(rows, key, "");
  if (series.points.empty()) return std::nullopt;
  return series.points.back().second;
}

double sum_of(const Rows& rows, std::string_view key) {
  double sum = 0;
  for (const auto& [step, value] : series_of(rows, key, "").points) {
    if (std::isfinite(value)) sum += value;
  }
  return sum;
}

std::string tile(const std::string& name, const std::string& value) {
  return fmt::format("<div class=\"tile\"><dt>{}</dt><dd>{}</dd></div>\n", escape_html(name),
                     escape_html(value));
}

// What the launcher's wrapper wrote about rank 0; null when it is absent or damaged.
nlohmann::json rank_status(const fs::path& run_dir) {
  return parse_json_or_null(read_if_there(run_dir / "black_box" / "rank-0.status"));
}

std::string best_tile(const Rows& rows, std::string_view name) {
  const std::optional<Best> best = best_of(rows, metric::name(metric::kEval, name));
  if (!best) return "";
  return tile(fmt::format("best {}, step {:.0f}", name, best->step),
              fmt::format("{:.3f}", best->value));
}

std::string tiles(const Rows& rows, const fs::path& run_dir) {
  std::string text = best_tile(rows, metric::kAp) + best_tile(rows, metric::kAp50);
  if (const auto loss = last_of(rows, metric::kLoss))
    text += tile("last loss", short_number(*loss));
  text += tile("steps", fmt::format("{:.0f}", last_of(rows, metric::kStep).value_or(0)));
  const nlohmann::json status = rank_status(run_dir);
  if (status.is_object() && status.contains("world_size"))
    text += tile("ranks", status["world_size"].dump());
  const double seconds = sum_of(rows, metric::kSeconds);
  text += tile("time in steps", human_seconds(seconds));
  text += tile("images", short_number(sum_of(rows, metric::kImages)));
  if (seconds > 0) {
    const double throughput = sum_of(rows, metric::kTokens) / seconds;
    text += tile("mean throughput", short_number(throughput) + " tok/s");
  }
  return "<dl class=\"tiles\">\n" + text + "</dl>\n";
}

// One metric's last value, best value and the best one's step; "n/a" where none was measured.
std::string evaluation_row(const Rows& rows, const std::string& name) {
  double last = 0;
  for (const auto& row : rows) {
    const auto found = row.find(name);
    if (found != row.end()) last = found->second;
  }
  const std::optional<Best> best = best_of(rows, name);
  return fmt::format(
      "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
      escape_html(name.substr(metric::kEval.size())), measured_text(last),
      best ? measured_text(best->value) : "n/a", best ? fmt::format("{:.0f}", best->step) : "");
}

std::string evaluation_table(const Rows& rows) {
  std::string body;
  for (const std::string& name : names_in(rows, metric::kEval)) body += evaluation_row(rows, name);
  if (body.empty()) return "";
  return "<h2>Evaluation</h2>\n<div class=\"card wide\"><table><tr><th>metric</th>"
         "<th class=\"n\">last</th><th class=\"n\">best</th><th class=\"n\">at step</th></tr>\n" +
         body + "</table></div>\n";
}

// By name. Empty when the folder is not there.
std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string ext = entry.path().extension().string();
    if (ext == ".png" || ext == ".jpg" || ext == ".jpeg") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

// The picture itself lies in the page, with the text of the file beside it, or its name, below.
std::string figure(const fs::path& picture) {
  const std::string name = escape_html(picture.stem().string());
  const std::string caption = read_if_there(fs::path(picture).replace_extension(".txt"));
  return fmt::format(
      "<figure class=\"card\"><img alt=\"{}\" "
      "src=\"data:image/{};base64,{}\"><figcaption>{}</figcaption></figure>\n",
      name, picture.extension() == ".png" ? "png" : "jpeg", base64(read_text(picture)),
      caption.empty() ? name : escape_html(caption));
}

std::string gallery(const fs::path& folder) {
  constexpr std::size_t kMaxPictures = 24;  // keeps the file small enough to mail
  const std::vector<fs::path> files = pictures_in(folder);
  if (files.empty()) return "";
  std::string text;
  for (std::size_t i = 0; i < std::min(files.size(), kMaxPictures); ++i) text += figure(files[i]);
  std::string count;
  if (files.size() > kMaxPictures)
    count = fmt::format(" <small>{} of {}</small>", kMaxPictures, files.size());
  return fmt::format("<h2>Predictions{}</h2>\n<section class=\"gallery\">\n{}</section>\n", count,
                     text);
}

std::string config_section(const fs::path& run_dir) {
  const std::string yaml = read_if_there(run_dir / "config.yaml");
  if (yaml.empty()) return "";
  return "<h2>Config</h2>\n<details class=\"card\"><summary>config.yaml, as "
         "resolved</summary><pre>" +
         escape_html(yaml) + "</pre></details>\n";
}

std::string run_name(const fs::path& run_dir) {
  const fs::path whole = fs::weakly_canonical(fs::absolute(run_dir));
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

std::string page_head(const fs::path& run_dir) {
  const std::string name = escape_html(run_name(run_dir));
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<title>{} - muster</title><style>{}</style></head><body><main>\n"
      "<header><h1>{}</h1><p>muster {}, {}</p></header>\n",
      name, kReportStyle, name, kVersion,
      escape_html(fs::absolute(run_dir).lexically_normal().string()));
}

}  // namespace

std::string render_report(const fs::path& run_dir) {
  const fs::path metrics = run_dir / "metrics.jsonl";
  if (!fs::exists(metrics)) {
    throw DataError(
        fmt::format("{}: not there; `muster report` wants the run.dir of a run that took a step",
                    metrics.string()));
  }
  const Rows rows = read_metrics(metrics);
  return page_head(run_dir) + tiles(rows, run_dir) + gallery(run_dir / "predictions") +
         charts(rows) + evaluation_table(rows) + config_section(run_dir) +
         "</main></body></html>\n";
}

fs::path write_report(const fs::path& run_dir) {
  const fs::path file = run_dir / "report.html";
  write_text(file, render_report(run_dir));
  return file;
}

}  // namespace muster::trainer
