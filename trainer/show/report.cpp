#include "trainer/show/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/text.h"
#include "trainer/show/metrics.h"
#include "trainer/show/report_style.h"
#include "trainer/show/svg_chart.h"

namespace muster::trainer {
namespace {

using Rows = std::vector<std::map<std::string, double>>;

std::string read_if_there(const fs::path& file) { return fs::exists(file) ? read_text(file) : ""; }

Series series_of(const Rows& rows, const std::string& key, const std::string& name,
                 double scale = 1) {
  Series series{name, {}};
  for (const auto& row : rows)
    if (const auto found = row.find(key); found != row.end())
      series.points.emplace_back(row.at("step"), found->second * scale);
  return series;
}

// Every key that starts with `prefix`, as series named by the rest.
std::vector<Series> all_with(const Rows& rows, const std::string& prefix) {
  std::map<std::string, bool> keys;
  for (const auto& row : rows)
    for (const auto& entry : row)
      if (entry.first.starts_with(prefix)) keys[entry.first] = true;
  std::vector<Series> all;
  for (const auto& entry : keys)
    all.push_back(series_of(rows, entry.first, entry.first.substr(prefix.size())));
  return all;
}

// Rows that lack a phase count as zero there, so that all series of a stack share their x.
std::vector<Series> phases(const Rows& rows) {
  Rows steps;
  std::map<std::string, double> zeros;
  for (const auto& row : rows)
    for (const auto& entry : row)
      if (entry.first.starts_with("seconds.")) zeros[entry.first] = 0;
  for (const auto& row : rows) {
    if (!row.contains("loss")) continue;
    steps.push_back(row);
    steps.back().insert(zeros.begin(), zeros.end());
  }
  // In the order they happen; others follow by name.
  constexpr std::array<std::string_view, 7> kOrder = {
      "data", "forward", "backward", "reduce", "consensus", "optimizer", "gather"};
  std::vector<Series> all = all_with(steps, "seconds.");
  std::ranges::stable_sort(
      all, {}, [&](const Series& s) { return std::ranges::find(kOrder, s.name) - kOrder.begin(); });
  return all;
}

// The terms that are in use: a switched-off one is zero throughout and would only take a colour.
std::vector<Series> loss_terms(const Rows& rows) {
  std::vector<Series> terms = all_with(rows, "loss.");
  std::erase_if(terms, [](const Series& s) {
    return std::ranges::all_of(s.points, [](const auto& p) { return p.second == 0; });
  });
  return terms;
}

constexpr double kMiB = 1024.0 * 1024.0;

std::string charts(const Rows& rows) {
  const std::vector<Chart> all = {
      {"Loss", "", {series_of(rows, "loss", "total")}, false, true},
      {"Loss terms, weighted", "", loss_terms(rows), false, true},
      {"Evaluation", "", all_with(rows, "eval."), false, false},
      {"Learning rate by group", "", all_with(rows, "lr."), false, false},
      {"Gradient norm", "", {series_of(rows, "grad_norm", "before clipping")}, false, true},
      {"Throughput", "tokens/s", {series_of(rows, "tokens_per_s", "all ranks")}, false, false},
      {"Step time by phase", "s", phases(rows), true, false},
      {"Memory per rank",
       "MiB",
       {series_of(rows, "memory_bytes", "in use", 1 / kMiB)},
       false,
       false},
  };
  std::string text;
  for (const Chart& chart : all) text += render_chart(chart);
  return text.empty() ? ""
                      : "<h2>Curves</h2>\n<section class=\"charts\">\n" + text + "</section>\n";
}

struct Best {
  double value = -1, step = 0;
};

std::optional<Best> best_of(const Rows& rows, const std::string& key) {
  std::optional<Best> best;
  for (const auto& row : rows) {
    const auto found = row.find(key);
    if (found != row.end() && std::isfinite(found->second) &&
        (!best || found->second > best->value))
      best = Best{found->second, row.at("step")};
  }
  return best;
}

std::optional<double> last_of(const Rows& rows, const std::string& key) {
  for (auto row = rows.rbegin(); row != rows.rend(); ++row)
    if (const auto found = row->find(key); found != row->end()) return found->second;
  return std::nullopt;
}

double sum_of(const Rows& rows, const std::string& key) {
  double sum = 0;
  for (const auto& row : rows)
    if (const auto found = row.find(key); found != row.end() && std::isfinite(found->second))
      sum += found->second;
  return sum;
}

std::string tile(const std::string& name, const std::string& value) {
  return fmt::format("<div class=\"tile\"><dt>{}</dt><dd>{}</dd></div>\n", escape_html(name),
                     escape_html(value));
}

std::string tiles(const Rows& rows, const fs::path& run_dir) {
  const nlohmann::json status =
      nlohmann::json::parse(read_if_there(run_dir / "black_box" / "rank-0.status"), nullptr, false);
  std::string text;
  if (const auto ap = best_of(rows, "eval.AP"))
    text += tile(fmt::format("best AP, step {:.0f}", ap->step), fmt::format("{:.3f}", ap->value));
  if (const auto ap = best_of(rows, "eval.AP50"))
    text += tile(fmt::format("best AP50, step {:.0f}", ap->step), fmt::format("{:.3f}", ap->value));
  if (const auto loss = last_of(rows, "loss")) text += tile("last loss", short_number(*loss));
  text += tile("steps", fmt::format("{:.0f}", rows.empty() ? 0 : rows.back().at("step")));
  if (status.is_object() && status.contains("world_size"))
    text += tile("ranks", status["world_size"].dump());
  const double seconds = sum_of(rows, "seconds");
  text += tile("time in steps", human_seconds(seconds));
  text += tile("images", short_number(sum_of(rows, "images")));
  if (seconds > 0)
    text += tile("mean throughput", short_number(sum_of(rows, "tokens") / seconds) + " tok/s");
  return "<dl class=\"tiles\">\n" + text + "</dl>\n";
}

std::string evaluation_table(const Rows& rows) {
  std::string body;
  for (const Series& s : all_with(rows, "eval.")) {
    const auto best = best_of(rows, "eval." + s.name);
    if (!best) continue;
    body += fmt::format(
        "<tr><td>{}</td><td class=\"n\">{:.4f}</td><td class=\"n\">{:.4f}</td><td "
        "class=\"n\">{:.0f}</td></tr>\n",
        escape_html(s.name), s.points.back().second, best->value, best->step);
  }
  if (body.empty()) return "";
  return "<h2>Evaluation</h2>\n<div class=\"card wide\"><table><tr><th>metric</th><th "
         "class=\"n\">last</th><th "
         "class=\"n\">best</th>"
         "<th class=\"n\">at step</th></tr>\n" +
         body + "</table></div>\n";
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t k) -> std::uint32_t {
      return i + k < bytes.size() ? static_cast<std::uint8_t>(bytes[i + k]) : 0;
    };
    const std::uint32_t group = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (std::size_t k = 0; k < 4; ++k)
      text += i + k <= bytes.size() ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string gallery(const fs::path& folder) {
  constexpr std::size_t kMaxPictures = 24;  // keeps the file small enough to mail
  std::vector<fs::path> files;
  if (fs::is_directory(folder))
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string ext = entry.path().extension().string();
      if (ext == ".png" || ext == ".jpg" || ext == ".jpeg") files.push_back(entry.path());
    }
  std::ranges::sort(files);
  std::string text;
  for (std::size_t i = 0; i < std::min(files.size(), kMaxPictures); ++i) {
    const std::string caption = read_if_there(fs::path(files[i]).replace_extension(".txt"));
    const std::string name = escape_html(files[i].stem().string());
    text += fmt::format(
        "<figure class=\"card\"><img alt=\"{}\" "
        "src=\"data:image/{};base64,{}\"><figcaption>{}</figcaption></figure>\n",
        name, files[i].extension() == ".png" ? "png" : "jpeg", base64(read_text(files[i])),
        caption.empty() ? name : escape_html(caption));
  }
  if (text.empty()) return "";
  const std::string count = files.size() > kMaxPictures ? fmt::format(" <small>{} of {}</small>",
                                                                      kMaxPictures, files.size())
                                                        : "";
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

}  // namespace

std::string render_report(const fs::path& run_dir) {
  const fs::path metrics = run_dir / "metrics.jsonl";
  if (!fs::exists(metrics))
    throw DataError(
        fmt::format("{}: not there; `muster report` wants the run.dir of a run that took a step",
                    metrics.string()));
  const Rows rows = read_metrics(metrics);
  const std::string name = escape_html(run_name(run_dir));
  return fmt::format(
             "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
             "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
             "<title>{} - muster</title><style>{}</style></head><body><main>\n"
             "<header><h1>{}</h1><p>muster {}, {}</p></header>\n",
             name, kReportStyle, name, MUSTER_VERSION,
             escape_html(fs::absolute(run_dir).lexically_normal().string())) +
         tiles(rows, run_dir) + gallery(run_dir / "predictions") + charts(rows) +
         evaluation_table(rows) + config_section(run_dir) + "</main></body></html>\n";
}

fs::path write_report(const fs::path& run_dir) {
  const fs::path file = run_dir / "report.html";
  write_text(file, render_report(run_dir));
  return file;
}

}  // namespace muster::trainer
