#include "trainer/show/report/comparison.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"
#include "trainer/show/report/config_difference.h"
#include "trainer/show/report/page.h"
#include "trainer/show/report/run_folder.h"

namespace muster::trainer {
namespace {

using Runs = std::vector<RunFolder>;

// Folders of one name are told apart by their place in the list.
std::vector<std::string> names_of(const Runs& runs) {
  std::vector<std::string> names;
  for (const RunFolder& run : runs) {
    std::string name = run.name;
    for (int i = 2; std::ranges::find(names, name) != names.end(); ++i)
      name = fmt::format("{} ({})", run.name, i);
    names.push_back(std::move(name));
  }
  return names;
}

std::string colour_dot(std::size_t i) { return fmt::format("<i class=\"dot c{}\"></i>", i % 8); }

std::string number(const std::optional<BestValue>& best, const char* otherwise = "") {
  return best ? fmt::format("{:.3f} <small>step {:.0f}</small>", best->value, best->step)
              : std::string(otherwise);
}

std::string summary_row(const RunFolder& run, const std::string& name, std::size_t i) {
  const double seconds = sum_of(run.rows, metric::kSeconds);
  const double tokens = sum_of(run.rows, metric::kTokens);
  const auto cell = [](const std::string& text) { return "<td class=\"n\">" + text + "</td>"; };
  return fmt::format("<tr><td>{}{}</td>", colour_dot(i), escape_html(name)) +
         cell(number(best_ap(run, metric::kAp), "n/a")) +
         cell(number(best_ap(run, metric::kAp50), "n/a")) +
         cell(number(best_of(run.rows, metric::name(metric::kEval, metric::kBestF1)))) +
         cell(number(best_of(run.rows, metric::kEvalLoss, /*lowest=*/true))) +
         cell(fmt::format("{:.0f}", last_of(run.rows, metric::kStep).value_or(0))) +
         cell(human_seconds(seconds)) +
         cell(seconds > 0 ? short_number(tokens / seconds) : std::string()) + "</tr>\n";
}

std::string summary(const Runs& runs, const std::vector<std::string>& names) {
  std::string body;
  for (std::size_t i = 0; i < runs.size(); ++i) body += summary_row(runs[i], names[i], i);
  return "<div class=\"card wide\"><table class=\"runs\"><tr><th>run</th><th class=\"n\">best "
         "AP</th><th "
         "class=\"n\">best AP50</th><th class=\"n\">best F1</th><th class=\"n\">lowest val "
         "loss</th><th class=\"n\">steps</th><th class=\"n\">time in steps</th><th "
         "class=\"n\">tok/s</th></tr>\n" +
         body + "</table></div>\n";
}

struct Compared {
  const char* title;
  std::string key;
  bool allow_log = false;
};

std::string chart_of(const Runs& runs, const std::vector<std::string>& names,
                     const Compared& what) {
  Chart chart{.title = what.title, .allow_log = what.allow_log};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Series series = series_of(runs[i].rows, what.key, names[i]);
    series.colour = static_cast<int>(i);
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  return render_chart(chart);
}

std::string curves_of(const Runs& runs, const std::vector<std::string>& names,
                      const std::vector<Compared>& all) {
  std::string text;
  for (const Compared& what : all) text += chart_of(runs, names, what);
  return text.empty() ? "" : "<section class=\"charts\">\n" + text + "</section>\n";
}

std::vector<Compared> quality_curves() {
  return {{"AP on data.val", metric::name(metric::kEval, metric::kAp)},
          {"AP50 on data.val", metric::name(metric::kEval, metric::kAp50)},
          {"AP50 of the answers", metric::name(metric::kEvalText, metric::kAp50)}};
}

std::vector<Compared> training_curves() {
  return {{"Loss", std::string(metric::kLoss), true},
          {"Loss on data.val", std::string(metric::kEvalLoss), true},
          {"Gradient norm", std::string(metric::kGradNorm), true},
          {"Tokens per second", std::string(metric::kTokensPerSecond)},
          {"Seconds per step", std::string(metric::kSeconds)}};
}

std::string head_row(const char* first, const std::vector<std::string>& names, const char* css) {
  std::string row = fmt::format("<tr><th>{}</th>", first);
  for (std::size_t i = 0; i < names.size(); ++i)
    row += fmt::format("<th class=\"{}\">{}{}</th>", css, colour_dot(i), escape_html(names[i]));
  return row + "</tr>\n";
}

std::string differences_section(const Runs& runs, const std::vector<std::string>& names) {
  std::vector<std::string> configs;
  for (const RunFolder& run : runs) configs.push_back(run.config);
  std::string body;
  for (const ConfigDifference& one : config_differences(configs)) {
    body += fmt::format("<tr><td><code>{}</code></td>", escape_html(one.key));
    for (const std::string& value : one.values)
      body += fmt::format("<td><code>{}</code></td>", escape_html(value));
    body += "</tr>\n";
  }
  if (body.empty()) body = "<tr><td>nothing</td></tr>";
  return "<h2>What differs in the configs</h2>\n<div class=\"card wide\"><table>" +
         head_row("key", names, "") + body + "</table></div>\n";
}

// AP of a class in one run; nothing where it was not measured.
std::optional<double> class_ap(const RunFolder& run, const std::string& name) {
  if (!run.evaluation) return std::nullopt;
  for (const ClassRecord& one : run.evaluation->classes) {
    if (one.curve.name != name) continue;
    const auto ap = one.metrics.find(std::string(metric::kAp));
    if (ap != one.metrics.end() && measured(ap->second)) return ap->second;
  }
  return std::nullopt;
}

struct ClassGains {
  std::string name;
  std::vector<std::optional<double>> ap;  // per run
  // How far the runs lie apart from the first.
  double largest() const {
    double most = 0;
    for (const auto& value : ap)
      if (value && ap.front()) most = std::max(most, std::abs(*value - *ap.front()));
    return most;
  }
};

std::string gain_cell(const ClassGains& gains, std::size_t i) {
  const std::optional<double>& value = gains.ap[i];
  if (!value) return "<td class=\"n\">n/a</td>";
  if (i == 0 || !gains.ap.front()) return fmt::format("<td class=\"n\">{:.3f}</td>", *value);
  const double gain = *value - *gains.ap.front();
  if (gain == 0) return fmt::format("<td class=\"n\">{:.3f} <small>=</small></td>", *value);
  return fmt::format("<td class=\"n\">{:.3f} <small class=\"{}\">{:+.3f}</small></td>", *value,
                     gain < 0 ? "worse" : "better", gain);
}

std::vector<ClassGains> gains_of(const Runs& runs) {
  std::vector<ClassGains> all;
  const auto known = [&](const std::string& name) {
    return std::ranges::find(all, name, &ClassGains::name) != all.end();
  };
  for (const RunFolder& run : runs) {
    if (!run.evaluation) continue;
    for (const ClassRecord& one : run.evaluation->classes) {
      if (known(one.curve.name)) continue;
      ClassGains& gains = all.emplace_back(ClassGains{one.curve.name, {}});
      for (const RunFolder& other : runs) gains.ap.push_back(class_ap(other, one.curve.name));
    }
  }
  std::ranges::stable_sort(all, std::greater{}, &ClassGains::largest);
  return all;
}

std::string gains_section(const Runs& runs, const std::vector<std::string>& names) {
  std::string body;
  for (const ClassGains& gains : gains_of(runs)) {
    body += fmt::format("<tr><td>{}</td>", escape_html(gains.name));
    for (std::size_t i = 0; i < runs.size(); ++i) body += gain_cell(gains, i);
    body += "</tr>\n";
  }
  if (body.empty()) return "";
  return "<h2>AP by class <small>gain over the first run, the largest first</small></h2>\n<div "
         "class=\"card wide\"><table>" +
         head_row("class", names, "n") + body + "</table></div>\n";
}

}  // namespace

std::string render_comparison(const std::vector<std::filesystem::path>& run_dirs) {
  Runs runs;
  for (const std::filesystem::path& run : run_dirs) runs.push_back(read_run_folder(run));
  const std::vector<std::string> names = names_of(runs);
  return page_head(fmt::format("{} runs", runs.size()), join(names, ", ")) + summary(runs, names) +
         "<h2>How good</h2>\n" + curves_of(runs, names, quality_curves()) +
         gains_section(runs, names) + differences_section(runs, names) + "<h2>Training</h2>\n" +
         curves_of(runs, names, training_curves()) + page_end();
}

}  // namespace muster::trainer
