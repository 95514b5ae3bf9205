#include "trainer/show/report/curves.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "trainer/show/metric_names.h"

namespace muster::trainer {
namespace {

constexpr std::size_t kMostMarks = 5;
constexpr const char* kLossTitle = "Loss";

// Some members of the evaluation's metrics, each where it was measured.
std::vector<Series> evaluated(const MetricsRows& rows, std::string_view family,
                              std::initializer_list<std::string_view> members) {
  std::vector<Series> all;
  for (const std::string_view member : members) {
    Series series = series_of(rows, metric::name(family, member), std::string(member));
    if (!series.points.empty()) all.push_back(std::move(series));
  }
  return all;
}

bool all_zero(const Series& series) {
  return std::ranges::all_of(series.points, [](const auto& point) { return point.second == 0; });
}

// The terms that are in use: a switched-off one is zero throughout and would only take a colour.
std::vector<Series> terms_in_use(const MetricsRows& rows, std::string_view family) {
  std::vector<Series> terms = all_of(rows, family);
  std::erase_if(terms, all_zero);
  return terms;
}

// A metric of the steps, and dashed in the same colour what it is on data.val.
std::vector<Series> with_validation(const MetricsRows& rows, std::string_view key,
                                    std::string_view validation_key) {
  std::vector<Series> both{series_of(rows, key, "train")};
  Series validation = series_of(rows, validation_key, "val");
  if (validation.points.empty()) return both;
  validation.dashed = true;
  both.push_back(std::move(validation));
  return both;
}

// The steps' phases in the order in which they happen; others follow by name. A row that lacks a
// phase counts as zero there, so that all series of a stack share their x.
std::vector<Series> phases(const MetricsRows& rows) {
  std::map<std::string, double> zeros;
  for (const std::string& name : names_in(rows, metric::kPhaseSeconds)) zeros[name] = 0;
  MetricsRows steps;
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

// "eval.NAME.AP" of several packs, named NAME.
std::vector<Series> by_pack(const MetricsRows& rows, std::string_view member) {
  const std::string end = "." + std::string(member);
  std::vector<Series> all;
  for (const std::string& name : names_in(rows, metric::kEval)) {
    const bool text = name.starts_with(metric::kEvalText) || name.ends_with(".text" + end);
    if (text || !name.ends_with(end) || name.size() < metric::kEval.size() + end.size()) continue;
    const std::string pack =
        name.substr(metric::kEval.size(), name.size() - metric::kEval.size() - end.size());
    all.push_back(series_of(rows, name, pack));
  }
  return all;
}

std::vector<Chart> evaluation_charts(const MetricsRows& rows) {
  return {
      {.title = "F1, recall and captions on data.val",
       .series = evaluated(rows, metric::kEval, {"best_F1", "AR100", "caption_exact"})},
      {.title = "AP by size of the boxes",
       .series = evaluated(rows, metric::kEval, {"APs", "APm", "APl"})},
      {.title = "AP50 by pack", .series = by_pack(rows, metric::kAp50)},
      {.title = "Answers of the language model",
       .series = evaluated(rows, metric::kEvalText, {"AP", "AP50", "exact", "malformed"})},
      {.title = "Perplexity of the answers, on data.val",
       .series = evaluated(rows, metric::kEval, {metric::kPerplexity}),
       .allow_log = true},
  };
}

std::vector<Chart> training_charts(const MetricsRows& rows) {
  constexpr double kMiB = 1024.0 * 1024.0;
  return {
      {.title = kLossTitle,
       .series = with_validation(rows, metric::kLoss, metric::kEvalLoss),
       .allow_log = true},
      {.title = "Loss terms, unweighted",
       .series = terms_in_use(rows, metric::kLossTerm),
       .allow_log = true},
      {.title = "Loss terms on data.val",
       .series = terms_in_use(rows, metric::kEvalLossTerm),
       .allow_log = true},
      {.title = "Learning rate by group", .series = all_of(rows, metric::kLearningRate)},
      {.title = "Gradient norm",
       .series = {series_of(rows, metric::kGradNorm, "before clipping")},
       .allow_log = true},
      {.title = "Gradient norm by group",
       .series = all_of(rows, metric::kGroupGradNorm),
       .allow_log = true},
      {.title = "Update of the weights over the weights, by group",
       .series = all_of(rows, metric::kUpdateRatio),
       .allow_log = true},
      {.title = "Norm of the weights by group", .series = all_of(rows, metric::kWeightNorm)},
      {.title = "Throughput",
       .unit = "tokens/s",
       .series = {series_of(rows, metric::kTokensPerSecond, "all ranks")}},
      {.title = "Model FLOPs utilisation",
       .unit = "%",
       .series = {series_of(rows, metric::kMfu, "of the peak", 100)}},
      {.title = "Step time by phase", .unit = "s", .series = phases(rows), .stacked = true},
      {.title = "Memory per rank",
       .unit = "MiB",
       .series = {series_of(rows, metric::kMemoryBytes, "in use", 1 / kMiB)}},
  };
}

// Where the loss on data.val was lowest, when it has risen since (diary row T-007).
std::vector<Mark> loss_marks(const MetricsRows& rows, std::vector<Mark> marks) {
  constexpr double kRise = 1.05;
  const auto lowest = best_of(rows, metric::kEvalLoss, /*lowest=*/true);
  const auto last = last_of(rows, metric::kEvalLoss);
  if (!lowest || !last || *last < kRise * lowest->value) return marks;
  std::erase_if(marks, [&](const Mark& mark) { return mark.x <= lowest->step; });
  marks.insert(marks.begin(), {lowest->step, "lowest val"});
  return marks;
}

// A pair of charts per term where both sides are known.
std::string term_charts(const MetricsRows& rows, const std::vector<Mark>& marks) {
  std::string text;
  for (const Series& term : terms_in_use(rows, metric::kEvalLossTerm)) {
    const Chart chart{.title = term.name,
                      .series = with_validation(rows, metric::name(metric::kLossTerm, term.name),
                                                metric::name(metric::kEvalLossTerm, term.name)),
                      .allow_log = true,
                      .marks = marks};
    text += render_chart(chart);
  }
  if (text.empty()) return "";
  return "<details><summary>Every loss term, train and val</summary>\n<section "
         "class=\"charts\">\n" +
         text + "</section></details>\n";
}

struct Part {
  std::string name;
  double seconds = 0;
};

// What the phases do not cover comes last.
std::vector<Part> parts_of(const MetricsRows& rows) {
  std::vector<Part> parts;
  double known = 0;
  for (const std::string_view phase : metric::kPhases) {
    const double seconds = sum_of(rows, metric::name(metric::kPhaseSeconds, phase));
    known += seconds;
    if (seconds > 0) parts.push_back({std::string(phase), seconds});
  }
  const double other = sum_of(rows, metric::kSeconds) - known;
  if (other > 0.001 * known) parts.push_back({"other", other});
  return parts;
}

}  // namespace

std::string ap_curve(const RunFolder& run) {
  std::vector<Series> series =
      evaluated(run.rows, metric::kEval, {metric::kAp, metric::kAp50, "AP75"});
  if (series.empty())
    series = evaluated(run.rows, metric::kEvalText, {metric::kAp, metric::kAp50, "AP75"});
  return render_chart({.title = "Average precision on data.val",
                       .series = std::move(series),
                       .marks = epoch_marks(run.rows, kMostMarks)});
}

std::string curves_section(const RunFolder& run) {
  const std::vector<Mark> marks = epoch_marks(run.rows, kMostMarks);
  std::string text;
  for (const auto& charts : {training_charts(run.rows), evaluation_charts(run.rows)}) {
    for (Chart chart : charts) {
      chart.marks = chart.title == kLossTitle ? loss_marks(run.rows, marks) : marks;
      text += render_chart(chart);
    }
  }
  if (text.empty()) return "";
  return "<h2>Curves</h2>\n<section class=\"charts\">\n" + text + "</section>\n" +
         term_charts(run.rows, marks);
}

std::string time_section(const RunFolder& run) {
  const std::vector<Part> parts = parts_of(run.rows);
  double total = 0;
  for (const Part& part : parts) total += part.seconds;
  if (total <= 0) return "";
  std::string bar;
  std::string legend;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double share = 100 * parts[i].seconds / total;
    bar += fmt::format("<i class=\"c{}\" style=\"width:{:.2f}%\" title=\"{} {:.1f} %\"></i>", i % 8,
                       share, escape_html(parts[i].name), share);
    legend += fmt::format("<li><i class=\"c{}\"></i>{} <b>{:.1f} %</b> {}</li>", i % 8,
                          escape_html(parts[i].name), share, human_seconds(parts[i].seconds));
  }
  return fmt::format(
      "<h2>Where the time went <small>{} in steps</small></h2>\n<div class=\"card\"><div "
      "class=\"bar\" role=\"img\" aria-label=\"time by phase\">{}</div><ul "
      "class=\"legend\">{}</ul></div>\n",
      human_seconds(total), bar, legend);
}

}  // namespace muster::trainer
