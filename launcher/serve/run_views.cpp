#include "launcher/serve/run_views.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <system_error>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/utf8.h"
#include "launcher/rank/run_folder.h"
#include "launcher/rank/side_file.h"
#include "launcher/serve/inside.h"
#include "launcher/serve/run_files.h"
#include "launcher/serve/signature.h"
#include "launcher/supervise/status.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::size_t kMetricsPerRequest = 8 << 20;  // bytes, a quarter of a second of work
constexpr std::size_t kMostCurvesKept = 16;          // runs, at most 4 MB each
constexpr double kFresh_s = 1;

double seconds_since_1970(fs::file_time_type time) {
  const auto system = std::chrono::file_clock::to_sys(time);
  return std::chrono::duration<double>(system.time_since_epoch()).count();
}

// What a run writes that changes what is told of it.
constexpr std::array kTelling{"metrics.jsonl", "launch.json", "config.yaml"};

// When the run last wrote what counts; 0 when it never did.
double changed(const fs::path& folder) {
  double newest = 0;
  for (const char* name : kTelling) {
    std::error_code error;
    const auto time = fs::last_write_time(folder / name, error);
    if (!error) newest = std::max(newest, seconds_since_1970(time));
  }
  return newest;
}

bool is_over(const json& status) {
  return !status.value("exit_code", json()).is_null() || status.value("state", "") == "lost";
}

json best_of(const MetricsTail& tail) {
  if (!tail.best_ap()) return nullptr;
  return {{"value", tail.best_ap()->value}, {"step", tail.best_ap()->step}};
}

// The launcher's own words about each attempt, the newest 20.
json attempts_of(const fs::path& folder) {
  json shown = json::array();
  const json record = read_side_file(folder / "launch.json");
  const json& attempts = list(record, "attempts");
  constexpr std::size_t kMost = 20;
  for (std::size_t i = attempts.size() - std::min(kMost, attempts.size()); i < attempts.size(); ++i)
    shown.push_back({{"attempt", i},
                     {"ending", short_text(attempts[i], "ending")},
                     {"what", short_text(attempts[i], "what")},
                     {"seconds", finite_number(attempts[i], "seconds", 0)}});
  return shown;
}

std::string points_text(const std::vector<std::pair<double, double>>& points) {
  std::string text = "[";
  for (const auto& [x, y] : points)
    text += fmt::format("{}[{:.0f},{:.6g}]", text.size() > 1 ? "," : "", x, y);
  return text + "]";
}

std::string curves_text(const MetricsTail& tail, std::uint64_t generation, double after) {
  const double from = generation == tail.generation() ? after : -1;
  double final_until = static_cast<double>(tail.last_step());
  std::string series;
  for (const auto& [name, curve] : tail.curves()) {
    final_until = std::min(final_until, curve.final_until());
    const auto points = curve.after(from);
    if (points.empty()) continue;
    const std::string key = json(to_valid_utf8(name)).dump();
    series += fmt::format("{}{}:{}", series.empty() ? "" : ",", key, points_text(points));
  }
  return fmt::format(
      R"({{"generation":{},"after":{:.0f},"next_after":{:.0f},"complete":{},"read":{:.4f},)"
      R"("damaged":{},"series":{{{}}}}})",
      tail.generation(), from, final_until, tail.at_end(), tail.share_read(), tail.damaged_lines(),
      series);
}

}  // namespace

json RunViews::summary(const std::string& id, const fs::path& folder, std::size_t& budget) {
  Summary& kept = summaries_[id];
  if (!kept.tail) kept.tail = std::make_unique<MetricsTail>(folder, false);
  const std::string signature = signature_of(folder, kTelling);
  const bool fresh = seconds_now() - kept.made_at < kFresh_s;
  const bool same = signature == kept.signature && kept.tail->at_end() && is_over(kept.json);
  if (fresh || same) return kept.json;
  kept.json = parse_json(status_as_json(read_status(folder)));
  const std::size_t share = std::min<std::size_t>(budget, kMetricsPerRequest / 4);
  kept.tail->read_on(share);
  budget -= share;
  kept.json["id"] = id;
  kept.json["best_ap"] = best_of(*kept.tail);
  kept.json["images_per_s"] = kept.tail->images_per_s();
  kept.json["metrics_read"] = kept.tail->share_read();
  kept.json["changed"] = changed(folder);
  kept.signature = signature;
  kept.made_at = seconds_now();
  return kept.json;
}

json RunViews::list() {
  const auto runs = catalog_.runs();
  const std::lock_guard lock(mutex_);
  std::erase_if(summaries_, [&](const auto& kept) { return !runs.contains(kept.first); });
  std::vector<json> all;
  std::size_t budget = kMetricsPerRequest;
  for (const auto& [id, folder] : runs) {
    try {
      json one = summary(id, folder, budget);
      for (const char* key : {"ranks", "changes", "damaged", "first", "job"}) one.erase(key);
      all.push_back(std::move(one));
    } catch (const std::exception& error) {
      all.push_back({{"id", id}, {"error", error.what()}, {"changed", 0.0}});
    }
  }
  std::ranges::stable_sort(all, [](const json& a, const json& b) {
    return a["changed"].get<double>() > b["changed"].get<double>();
  });
  return all;
}

json RunViews::detail(const std::string& id) {
  const auto folder = catalog_.find(id);
  if (!folder) return nullptr;
  json one;
  {
    const std::lock_guard lock(mutex_);
    std::size_t budget = kMetricsPerRequest;
    one = summary(id, *folder, budget);
  }
  one["attempts"] = attempts_of(*folder);
  one["logs"] = log_names(*folder);
  one["pictures"] = picture_names(*folder).size();
  one["checkpoint"] = newest_checkpoint(*folder);
  return one;
}

std::shared_ptr<RunViews::Curves> RunViews::curves_of(const std::string& id,
                                                      const fs::path& folder) {
  const std::lock_guard lock(curves_mutex_);
  const auto found = std::ranges::find(curves_, id, [](const auto& kept) { return kept.first; });
  if (found != curves_.end()) {
    curves_.splice(curves_.begin(), curves_, found);
  } else {
    const auto made = std::make_shared<Curves>();
    made->tail = std::make_unique<MetricsTail>(folder, true);
    curves_.emplace_front(id, made);
    if (curves_.size() > kMostCurvesKept) curves_.pop_back();
  }
  return curves_.front().second;
}

std::string RunViews::curves(const std::string& id, std::uint64_t generation, double after) {
  const auto folder = catalog_.find(id);
  if (!folder) return "";
  const std::shared_ptr<Curves> kept = curves_of(id, *folder);
  const std::lock_guard lock(kept->mutex);
  kept->tail->read_on(kMetricsPerRequest);
  return curves_text(*kept->tail, generation, after);
}

}  // namespace muster::launcher
