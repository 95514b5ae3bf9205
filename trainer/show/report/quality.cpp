#include "trainer/show/report/quality.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>

#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"

namespace muster::trainer {
namespace {

constexpr std::size_t kMostDrawnClasses = 7;    // with all of them together, as many as colours
constexpr std::size_t kMostMatrixClasses = 16;  // a larger matrix is listed by its largest cells

std::string number_cell(const std::string& text) {
  return fmt::format("<td class=\"n\">{}</td>", text);
}

std::string class_row(const ClassRecord& one) {
  const auto metric_of = [&](const char* name) {
    const auto found = one.metrics.find(name);
    return number_cell(found == one.metrics.end() ? "" : measured_text(found->second));
  };
  std::string row =
      fmt::format("<tr><td>{}</td>{}", escape_html(one.curve.name.empty() ? "all" : one.curve.name),
                  number_cell(fmt::format("{}", one.curve.truths)));
  for (const char* name : {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"})
    row += metric_of(name);
  row += number_cell(fmt::format("{:.3f}", one.best.f1()));
  row += number_cell(fmt::format("{:.3f}", one.best.precision));
  row += number_cell(fmt::format("{:.3f}", one.best.recall));
  return row + number_cell(fmt::format("{:.3f}", one.best.threshold)) + "</tr>\n";
}

// Metrics of all classes together stand in the record itself.
ClassRecord all_with_metrics(const EvaluationRecord& record) {
  ClassRecord all = record.all;
  for (const std::string_view name : metric::kCoco) {
    auto found = record.metrics.find(std::string(name));
    if (found == record.metrics.end()) found = record.metrics.find("text." + std::string(name));
    if (found != record.metrics.end()) all.metrics[std::string(name)] = found->second;
  }
  return all;
}

std::string class_table(const EvaluationRecord& record) {
  std::vector<const ClassRecord*> classes;
  for (const ClassRecord& one : record.classes) classes.push_back(&one);
  std::ranges::stable_sort(classes, std::greater{},
                           [](const ClassRecord* one) { return one->curve.truths; });
  std::string body = class_row(all_with_metrics(record));
  for (const ClassRecord* one : classes) body += class_row(*one);
  std::string head;
  for (const char* name : {"boxes", "AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "best F1",
                           "precision", "recall", "threshold"})
    head += fmt::format("<th class=\"n\">{}</th>", name);
  return "<div class=\"card wide\"><table class=\"classes\"><tr><th>class</th>" + head + "</tr>\n" +
         body + "</table></div>\n";
}

// All classes together, then those with most boxes that have a curve.
std::vector<const ClassRecord*> drawn_classes(const EvaluationRecord& record) {
  std::vector<const ClassRecord*> drawn;
  for (const ClassRecord& one : record.classes)
    if (!one.curve.points.empty() && one.curve.truths > 0) drawn.push_back(&one);
  std::ranges::stable_sort(drawn, std::greater{},
                           [](const ClassRecord* one) { return one->curve.truths; });
  if (drawn.size() > kMostDrawnClasses) drawn.resize(kMostDrawnClasses);
  drawn.insert(drawn.begin(), &record.all);
  return drawn;
}

using Coordinate = double (*)(const OperatingPoint&);

// By rising x; where several points share one, the highest.
Series curve_series(const ClassRecord& one, Coordinate x, Coordinate y) {
  std::map<double, double> points;
  for (const OperatingPoint& point : one.curve.points) {
    const auto [place, added] = points.emplace(x(point), y(point));
    if (!added) place->second = std::max(place->second, y(point));
  }
  return {.name = one.curve.name.empty() ? "all" : one.curve.name,
          .points = {points.begin(), points.end()}};
}

std::string operating_charts(const EvaluationRecord& record) {
  const auto recall = [](const OperatingPoint& p) { return p.recall; };
  const auto precision = [](const OperatingPoint& p) { return p.precision; };
  const auto threshold = [](const OperatingPoint& p) { return p.threshold; };
  const auto f1 = [](const OperatingPoint& p) { return p.f1(); };
  Chart pr{.title = "Precision over recall, IoU 0.5", .x_name = "recall", .last_values = false};
  Chart over_threshold{
      .title = "F1 over the threshold, IoU 0.5", .x_name = "score", .last_values = false};
  for (const ClassRecord* one : drawn_classes(record)) {
    pr.series.push_back(curve_series(*one, recall, precision));
    over_threshold.series.push_back(curve_series(*one, threshold, f1));
  }
  return render_chart(pr) + render_chart(over_threshold);
}

std::int64_t at(const Confusion& confusion, std::size_t truth, std::size_t predicted) {
  return confusion.counts[truth * confusion.size() + predicted];
}

std::int64_t row_sum(const Confusion& confusion, std::size_t truth) {
  std::int64_t sum = 0;
  for (std::size_t p = 0; p < confusion.size(); ++p) sum += at(confusion, truth, p);
  return sum;
}

// Shaded by the share of the row.
std::string matrix(const Confusion& confusion) {
  std::string text = "<table class=\"matrix\"><tr><th>true \\ called</th>";
  for (const std::string& name : confusion.names)
    text += fmt::format("<th class=\"n\">{}</th>", escape_html(name));
  text += "</tr>\n";
  for (std::size_t t = 0; t < confusion.size(); ++t) {
    text += fmt::format("<tr><th>{}</th>", escape_html(confusion.names[t]));
    const auto sum = static_cast<double>(std::max<std::int64_t>(1, row_sum(confusion, t)));
    for (std::size_t p = 0; p < confusion.size(); ++p) {
      const std::int64_t count = at(confusion, t, p);
      const double share = 100 * static_cast<double>(count) / sum;
      text += fmt::format("<td class=\"n {}\" style=\"--p:{:.0f}%\" title=\"{:.1f} %\">{}</td>",
                          t == p ? "right" : "wrong", share, share,
                          count == 0 ? "" : fmt::format("{}", count));
    }
    text += "</tr>\n";
  }
  return text + "</table>";
}

struct Cell {
  std::int64_t count = 0;
  std::size_t truth = 0, predicted = 0;
};

std::string largest_confusions(const Confusion& confusion) {
  constexpr std::size_t kShown = 20;
  std::vector<Cell> cells;
  for (std::size_t t = 0; t < confusion.size(); ++t)
    for (std::size_t p = 0; p < confusion.size(); ++p)
      if (t != p && at(confusion, t, p) > 0) cells.push_back({at(confusion, t, p), t, p});
  std::ranges::stable_sort(cells, std::greater{}, &Cell::count);
  if (cells.size() > kShown) cells.resize(kShown);
  std::string text = "<table><tr><th>true</th><th>called</th><th class=\"n\">boxes</th></tr>\n";
  for (const Cell& cell : cells)
    text += fmt::format("<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>\n",
                        escape_html(confusion.names[cell.truth]),
                        escape_html(confusion.names[cell.predicted]), cell.count);
  return text + "</table>";
}

std::string confusion_figure(const Confusion& confusion) {
  if (confusion.size() < 2) return "";
  const bool small = confusion.size() <= kMostMatrixClasses;
  return fmt::format(
      "<figure class=\"card wide span\"><figcaption>{} <small>score at least {:.3g}, IoU at least "
      "{:.2g}; background: of nothing, or not found</small></figcaption>{}</figure>\n",
      small ? "Confusion matrix" : "Largest confusions", confusion.threshold, confusion.iou,
      small ? matrix(confusion) : largest_confusions(confusion));
}

// One metric's last value, best value and the best one's step; "n/a" where none was measured.
std::string metric_row(const MetricsRows& rows, const std::string& name) {
  double last = 0;
  for (const auto& row : rows) {
    const auto found = row.find(name);
    if (found != row.end()) last = found->second;
  }
  const bool lower = name.starts_with(metric::kEvalLoss) || name.ends_with(metric::kPerplexity) ||
                     name.ends_with(metric::kTextMalformed);
  const std::optional<BestValue> best = best_of(rows, name, lower);
  return fmt::format("<tr><td>{}</td>{}{}{}</tr>\n", escape_html(name.substr(metric::kEval.size())),
                     number_cell(measured_text(last)),
                     number_cell(best ? measured_text(best->value) : "n/a"),
                     number_cell(best ? fmt::format("{:.0f}", best->step) : ""));
}

}  // namespace

std::string quality_section(const RunFolder& run) {
  if (!run.evaluation || run.evaluation->classes.empty()) return "";
  const EvaluationRecord& record = *run.evaluation;
  std::string charts = operating_charts(record);
  if (record.confusion) charts += confusion_figure(*record.confusion);
  return fmt::format("<h2>Classes <small>evaluated at step {}</small></h2>\n{}", record.step,
                     class_table(record)) +
         "<section class=\"charts below\">\n" + charts + "</section>\n";
}

std::string metrics_section(const RunFolder& run) {
  std::string body;
  for (const std::string& name : names_in(run.rows, metric::kEval))
    body += metric_row(run.rows, name);
  if (body.empty()) return "";
  return "<h2>Evaluation</h2>\n<div class=\"card wide\"><table><tr><th>metric</th>"
         "<th class=\"n\">last</th><th class=\"n\">best</th><th class=\"n\">at step</th></tr>\n" +
         body + "</table></div>\n";
}

}  // namespace muster::trainer
