// A run as the report sees it: what lies in its folder, read once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/show/evaluation_record.h"
#include "trainer/show/judged_pictures.h"
#include "trainer/show/svg_chart.h"

namespace muster::trainer {

using MetricsRows = std::vector<std::map<std::string, double>>;

struct RunFolder {
  std::filesystem::path path;
  std::string name;                                 // the folder's
  MetricsRows rows;                                 // metrics.jsonl
  std::string config = {};                          // config.yaml; "" without one
  std::optional<EvaluationRecord> evaluation = {};  // the best checkpoint's, else the newest
  JudgedPictures pictures = {};
  nlohmann::json launch = {};                // launch.json; null without one
  std::vector<nlohmann::json> resumes = {};  // lines of resumes.jsonl
  std::int64_t ranks = 0;                    // 0: not known
};

// Only metrics.jsonl must be there. What else is absent or damaged is left out. Throws DataError.
RunFolder read_run_folder(const std::filesystem::path& path);

struct BestValue {
  double value = 0, step = 0;
};

// The points of one metric; none where an evaluation had nothing to measure.
Series series_of(const MetricsRows& rows, std::string_view key, const std::string& name,
                 double scale = 1);
// Every metric of a family, as series named by what follows the prefix.
std::vector<Series> all_of(const MetricsRows& rows, std::string_view family);
// The names of the rows that start with `family`.
std::set<std::string> names_in(const MetricsRows& rows, std::string_view family);
// The highest measured value, or with `lowest` the lowest.
std::optional<BestValue> best_of(const MetricsRows& rows, std::string_view key,
                                 bool lowest = false);
std::optional<double> last_of(const MetricsRows& rows, std::string_view key);
double sum_of(const MetricsRows& rows, std::string_view key);
// Where epochs begin, at most about `most` of them.
std::vector<Mark> epoch_marks(const MetricsRows& rows, std::size_t most);

}  // namespace muster::trainer
