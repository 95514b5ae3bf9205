#include "golden_check/coco.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "trainer/evaluate/coco_eval.h"

namespace muster::golden {
namespace {

constexpr double kTolerance = 1e-6;
constexpr const char* kTruthEnd = ".gt.json";

std::vector<std::string> case_names(const fs::path& dir) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(dir)) {
    std::string name = entry.path().filename().string();
    if (!name.ends_with(kTruthEnd)) continue;
    names.push_back(name.substr(0, name.size() - std::string(kTruthEnd).size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Infinite for a value of ours that is missing.
double error_of(const std::map<std::string, double>& ours, const std::string& key,
                double expected) {
  const auto found = ours.find(key);
  return found == ours.end() ? std::numeric_limits<double>::infinity()
                             : std::abs(found->second - expected);
}

bool check_line(Report& report, const std::string& name, double error) {
  const bool ok = error <= kTolerance;
  report.line(name, error, kTolerance, ok);
  return ok;
}

bool check_case(const fs::path& dir, const std::string& name, Report& report) {
  const trainer::CocoMetrics ours =
      trainer::evaluate_coco(trainer::read_ground_truth(dir / (name + kTruthEnd)),
                             trainer::read_detections(dir / (name + ".dets.json")));
  const nlohmann::json expected = nlohmann::json::parse(read_text(dir / (name + ".expected.json")));
  bool ok = true;
  for (const auto& [metric, value] : expected.at("metrics").items()) {
    ok &= check_line(report, fmt::format("{}.{}", name, metric),
                     error_of(ours.metrics, metric, value.get<double>()));
  }
  double worst = 0;
  const nlohmann::json per_category = expected.value("AP_per_category", nlohmann::json::object());
  for (const auto& [category, value] : per_category.items()) {
    worst = std::max(worst, error_of(ours.ap_per_category, category, value.get<double>()));
  }
  return check_line(report, name + ".AP_per_category", worst) && ok;
}

}  // namespace

bool is_coco_dir(const fs::path& dir) { return !case_names(dir).empty(); }

bool check_coco(const fs::path& dir, Report& report) {
  const std::vector<std::string> names = case_names(dir);
  bool ok = !names.empty();
  for (const std::string& name : names) {
    try {
      ok &= check_case(dir, name, report);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
      report.line(name, std::numeric_limits<double>::infinity(), kTolerance, false);
      ok = false;
    }
  }
  return ok;
}

}  // namespace muster::golden
