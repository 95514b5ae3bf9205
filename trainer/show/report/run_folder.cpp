#include "trainer/show/report/run_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/step_folder.h"
#include "base/text.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"

namespace muster::trainer {
namespace {

std::string read_if_there(const fs::path& file) {
  return fs::is_regular_file(file) ? read_text(file) : "";
}

std::string folder_name(const fs::path& path) {
  const fs::path whole = fs::weakly_canonical(fs::absolute(path));
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

// The checkpoint that best.json names, where it is still there.
std::optional<EvaluationRecord> best_evaluation(const fs::path& run) {
  const fs::path root = run / "checkpoints";
  const nlohmann::json best = parse_json_or_null(read_if_there(root / "best.json"));
  const auto name = member_or<std::string>(best, "checkpoint", "");
  if (!step_of_name(name)) return std::nullopt;
  return read_evaluation(root / name / kEvaluationFile);
}

std::vector<nlohmann::json> json_lines(const fs::path& file) {
  std::vector<nlohmann::json> lines;
  for (const std::string& line : split(read_if_there(file), '\n'))
    if (nlohmann::json row = parse_json_or_null(line); row.is_object())
      lines.push_back(std::move(row));
  return lines;
}

std::int64_t count_ranks(const RunFolder& run) {
  // What the launcher's wrapper wrote about rank 0, else what the launcher was asked for.
  const nlohmann::json status =
      parse_json_or_null(read_if_there(run.path / "black_box" / "rank-0.status"));
  const auto ranks = member_or<std::int64_t>(status, "world_size", 0);
  return ranks > 0 ? ranks : member_or<std::int64_t>(run.launch, "ranks", 0);
}

}  // namespace

RunFolder read_run_folder(const fs::path& path) {
  const fs::path metrics = path / "metrics.jsonl";
  if (!fs::exists(metrics)) {
    throw DataError(
        fmt::format("{}: not there; `muster report` wants the run.dir of a run that took a step",
                    metrics.string()));
  }
  RunFolder run{.path = path, .name = folder_name(path), .rows = read_metrics(metrics)};
  run.config = read_if_there(path / "config.yaml");
  run.evaluation = best_evaluation(path);
  if (!run.evaluation) run.evaluation = read_evaluation(path / kEvaluationFile);
  run.pictures = read_judged(path / "predictions" / "judged.json");
  run.launch = parse_json_or_null(read_if_there(path / "launch.json"));
  run.resumes = json_lines(path / "resumes.jsonl");
  run.ranks = count_ranks(run);
  return run;
}

Series series_of(const MetricsRows& rows, std::string_view key, const std::string& name,
                 double scale) {
  const bool evaluation = key.starts_with(metric::kEval);
  const std::string wanted(key);
  Series series{.name = name, .points = {}};
  for (const auto& row : rows) {
    const auto found = row.find(wanted);
    if (found == row.end() || (evaluation && !measured(found->second))) continue;
    series.points.emplace_back(row.at(std::string(metric::kStep)), found->second * scale);
  }
  return series;
}

std::set<std::string> names_in(const MetricsRows& rows, std::string_view family) {
  std::set<std::string> names;
  for (const auto& row : rows) {
    for (const auto& [name, value] : row) {
      if (name.starts_with(family)) names.insert(name);
    }
  }
  return names;
}

std::vector<Series> all_of(const MetricsRows& rows, std::string_view family) {
  std::vector<Series> all;
  for (const std::string& name : names_in(rows, family))
    all.push_back(series_of(rows, name, name.substr(family.size())));
  return all;
}

std::optional<BestValue> best_of(const MetricsRows& rows, std::string_view key, bool lowest) {
  std::optional<BestValue> best;
  for (const auto& [step, value] : series_of(rows, key, "").points) {
    const bool better = best && (lowest ? value < best->value : value > best->value);
    if (std::isfinite(value) && (!best || better)) best = BestValue{value, step};
  }
  return best;
}

std::optional<double> last_of(const MetricsRows& rows, std::string_view key) {
  const Series series = series_of(rows, key, "");
  if (series.points.empty()) return std::nullopt;
  return series.points.back().second;
}

double sum_of(const MetricsRows& rows, std::string_view key) {
  double sum = 0;
  for (const auto& [step, value] : series_of(rows, key, "").points)
    if (std::isfinite(value)) sum += value;
  return sum;
}

std::vector<Mark> epoch_marks(const MetricsRows& rows, std::size_t most) {
  std::vector<Mark> marks;
  double epoch = 0;
  for (const auto& [step, at] : series_of(rows, metric::kEpoch, "").points) {
    if (at <= epoch) continue;
    epoch = at;
    marks.push_back({step, fmt::format("epoch {:.0f}", at)});
  }
  const std::size_t every = std::max<std::size_t>(1, (marks.size() + most - 1) / most);
  std::vector<Mark> kept;
  for (std::size_t i = every - 1; i < marks.size(); i += every) kept.push_back(marks[i]);
  return kept;
}

}  // namespace muster::trainer
