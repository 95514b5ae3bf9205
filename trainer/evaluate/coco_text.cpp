#include "trainer/evaluate/coco_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <string_view>
#include <vector>

#include "trainer/show/metric_names.h"
#include "trainer/show/metrics.h"

namespace muster::trainer {
namespace {

struct ClassCount {
  std::string name;
  std::int64_t wanted = 0, found = 0;
};

// Those with most true boxes first.
std::vector<ClassCount> count_classes(const CocoGroundTruth& truth,
                                      const std::map<std::int64_t, std::int64_t>& predicted) {
  std::map<std::int64_t, std::int64_t> wanted;
  for (const EvalBox& box : truth.boxes) ++wanted[box.category_id];
  std::vector<ClassCount> counts;
  for (const auto& [id, name] : truth.categories) {
    const auto found = predicted.find(id);
    counts.push_back({name, wanted[id], found == predicted.end() ? 0 : found->second});
  }
  std::ranges::stable_sort(counts, std::greater{}, &ClassCount::wanted);
  return counts;
}

}  // namespace

std::string metrics_text(const CocoMetrics& coco, bool by_class) {
  std::string text;
  for (const std::string_view name : metric::kCoco)
    text += fmt::format("{:<6} {}\n", name, measured_text(coco.metrics.at(std::string(name))));
  if (!by_class) return text;
  for (const auto& [name, ap] : coco.ap_per_category)
    text += fmt::format("AP of {:<20} {}\n", name, measured_text(ap));
  return text;
}

std::string class_table(const EvaluationRecord& record) {
  std::string text =
      fmt::format("{:<24} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9}\n", "class",
                  "boxes", "AP", "AP50", "APs", "APm", "APl", "AR100", "best F1", "at score");
  const auto line = [&](const std::string& name, const ClassRecord& one, const auto& value) {
    text +=
        fmt::format("{:<24} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7.4f} {:>9.4f}\n", name,
                    one.curve.truths, value("AP"), value("AP50"), value("APs"), value("APm"),
                    value("APl"), value("AR100"), one.best.f1(), one.best.threshold);
  };
  for (const ClassRecord& one : record.classes)
    line(one.curve.name, one,
         [&](const char* metric) { return measured_text(one.metrics.at(metric)); });
  // Of a run that is judged by its answers the metrics are those of the answers.
  line("all", record.all, [&](const char* metric) {
    const auto head = record.metrics.find(metric);
    const auto text_metric = record.metrics.find(std::string("text.") + metric);
    if (head != record.metrics.end()) return measured_text(head->second);
    return measured_text(text_metric == record.metrics.end() ? -1 : text_metric->second);
  });
  return text;
}

std::string explain_zero(const CocoGroundTruth& truth,
                         const std::map<std::int64_t, std::int64_t>& predicted) {
  constexpr std::size_t kShown = 8;
  const std::vector<ClassCount> counts = count_classes(truth, predicted);
  std::string text = "AP is 0: true and predicted boxes of";
  for (std::size_t i = 0; i < std::min(counts.size(), kShown); ++i) {
    text += fmt::format("{} {} {} and {}", i == 0 ? "" : ",", counts[i].name, counts[i].wanted,
                        counts[i].found);
  }
  if (counts.size() > kShown) text += fmt::format(", and {} more classes", counts.size() - kShown);
  return text;
}

}  // namespace muster::trainer
