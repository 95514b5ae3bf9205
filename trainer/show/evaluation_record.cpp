#include "trainer/show/evaluation_record.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/json.h"

namespace muster::trainer {
namespace {

using Json = nlohmann::json;
using Numbers = std::map<std::string, double>;

constexpr std::size_t kMostPoints = 120;  // of a curve in the file

// Evenly among all of them, the last and the best one with them.
std::vector<OperatingPoint> thinned(const OperatingCurve& curve) {
  if (curve.points.size() <= kMostPoints) return curve.points;
  const OperatingPoint best = curve.best();
  const std::size_t every = (curve.points.size() + kMostPoints - 1) / kMostPoints;
  std::vector<OperatingPoint> kept;
  for (std::size_t i = 0; i < curve.points.size(); ++i)
    if (i % every == 0 || i + 1 == curve.points.size() || curve.points[i] == best)
      kept.push_back(curve.points[i]);
  return kept;
}

Json point_to_json(const OperatingPoint& p) { return {p.threshold, p.precision, p.recall}; }

OperatingPoint point_from_json(const Json& json) {
  return {.threshold = json.at(0), .precision = json.at(1), .recall = json.at(2)};
}

Json class_to_json(const ClassRecord& record, bool with_curve) {
  Json json{{"name", record.curve.name},
            {"truths", record.curve.truths},
            {"best", point_to_json(record.best)},
            {"curve", Json::array()}};
  if (!record.metrics.empty()) json["metrics"] = record.metrics;
  if (!with_curve) return json;
  for (const OperatingPoint& point : thinned(record.curve))
    json["curve"].push_back(point_to_json(point));
  return json;
}

ClassRecord class_from_json(const Json& json) {
  ClassRecord record;
  record.curve.name = json.at("name");
  record.curve.truths = json.at("truths");
  record.best = point_from_json(json.at("best"));
  if (json.contains("metrics")) record.metrics = json.at("metrics").get<Numbers>();
  for (const Json& point : json.at("curve")) record.curve.points.push_back(point_from_json(point));
  return record;
}

// Most of a matrix of many classes is zero.
Json confusion_to_json(const Confusion& confusion) {
  Json cells = Json::array();
  for (std::size_t i = 0; i < confusion.counts.size(); ++i)
    if (confusion.counts[i] != 0)
      cells.push_back({i / confusion.size(), i % confusion.size(), confusion.counts[i]});
  return {{"threshold", confusion.threshold},
          {"iou", confusion.iou},
          {"names", confusion.names},
          {"cells", cells}};
}

Confusion confusion_from_json(const Json& json) {
  Confusion confusion{.threshold = json.at("threshold"), .iou = json.at("iou")};
  confusion.names = json.at("names").get<std::vector<std::string>>();
  if (confusion.size() > kMostConfusionNames)
    throw JsonError("more names than a matrix is drawn of");
  confusion.counts.resize(confusion.size() * confusion.size());
  for (const Json& cell : json.at("cells")) {
    const std::size_t truth = cell.at(0), predicted = cell.at(1);
    if (truth >= confusion.size() || predicted >= confusion.size())
      throw JsonError("a cell outside the matrix");
    confusion.counts[truth * confusion.size() + predicted] = cell.at(2);
  }
  return confusion;
}

// The classes whose curves are kept, by their places.
std::set<std::size_t> with_most_truths(const std::vector<ClassRecord>& classes) {
  std::vector<std::size_t> order(classes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::size_t i) { return classes[i].curve.truths; });
  order.resize(std::min(order.size(), kMostCurves));
  return {order.begin(), order.end()};
}

EvaluationRecord record_from_json(const Json& json) {
  EvaluationRecord record;
  record.step = json.at("step");
  record.metrics = json.at("metrics").get<Numbers>();
  record.all = class_from_json(json.at("all"));
  for (const Json& one : json.at("classes")) record.classes.push_back(class_from_json(one));
  if (json.contains("confusion")) record.confusion = confusion_from_json(json.at("confusion"));
  return record;
}

}  // namespace

OperatingPoint OperatingCurve::best() const {
  OperatingPoint best{.threshold = 1};
  for (const OperatingPoint& point : points)
    if (point.f1() > best.f1()) best = point;
  return best;
}

std::string evaluation_to_json(const EvaluationRecord& record) {
  Json json{{"step", record.step},
            {"metrics", record.metrics},
            {"all", class_to_json(record.all, true)},
            {"classes", Json::array()}};
  const std::set<std::size_t> drawn = with_most_truths(record.classes);
  for (std::size_t i = 0; i < record.classes.size(); ++i)
    json["classes"].push_back(class_to_json(record.classes[i], drawn.contains(i)));
  if (record.confusion) json["confusion"] = confusion_to_json(*record.confusion);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<EvaluationRecord> evaluation_from_json(const std::string& text) {
  try {
    return record_from_json(parse_json(text));
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

std::optional<EvaluationRecord> read_evaluation(const std::filesystem::path& file) {
  if (!fs::is_regular_file(file)) return std::nullopt;
  return evaluation_from_json(read_text(file));
}

}  // namespace muster::trainer
