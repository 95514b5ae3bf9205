// evaluation.json: one evaluation in full, beside the few numbers of it in metrics.jsonl. The run
// folder holds the newest, each checkpoint that of its step: the report draws it, `predict
// --threshold best` takes its thresholds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace muster::trainer {

// When detections of a score of at least `threshold` count.
struct OperatingPoint {
  double threshold = 0;
  double precision = 0, recall = 0;
  double f1() const {
    return precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall);
  }
  bool operator==(const OperatingPoint&) const = default;
};

struct OperatingCurve {
  std::string name = {};                    // of the class; "" for all of them together
  std::int64_t truths = 0;                  // crowds are not counted
  std::vector<OperatingPoint> points = {};  // one per score that occurs, the highest first
  // Where F1 is highest, the highest threshold among equals; a threshold of 1 and zeros where no
  // detection is right.
  OperatingPoint best() const;
  bool operator==(const OperatingCurve&) const = default;
};

// counts[t * size() + p]: boxes of class t that were called p. The last name is the background: in
// its row are detections of nothing, in its column true boxes that nothing found.
struct Confusion {
  double threshold = 0;
  double iou = 0.5;
  std::vector<std::string> names = {};
  std::vector<std::int64_t> counts = {};
  std::size_t size() const { return names.size(); }
  bool operator==(const Confusion&) const = default;
};

inline constexpr std::size_t kMostConfusionNames = 4096;  // whose matrix takes 128 MiB

struct ClassRecord {
  std::map<std::string, double> metrics =
      {};  // COCO's twelve; -1 where there is nothing to measure
  OperatingPoint best = {};
  OperatingCurve curve = {};  // with its name and number of truths
  bool operator==(const ClassRecord&) const = default;
};

struct EvaluationRecord {
  std::int64_t step = -1;                      // -1: of no run's step
  std::map<std::string, double> metrics = {};  // as in metrics.jsonl, without "eval."
  ClassRecord all = {};                        // of all classes together; its metrics are empty
  std::vector<ClassRecord> classes = {};
  std::optional<Confusion> confusion = std::nullopt;
  bool operator==(const EvaluationRecord&) const = default;
};

inline constexpr const char* kEvaluationFile = "evaluation.json";

// Curves are thinned to what a drawing shows, with their best point; of more classes than
// kMostCurves only those with most truths keep theirs.
inline constexpr std::size_t kMostCurves = 24;
std::string evaluation_to_json(const EvaluationRecord& record);
// Nothing where the text is no such record. Sizes and numbers are checked.
std::optional<EvaluationRecord> evaluation_from_json(const std::string& text);
// Nothing where the file is absent or damaged.
std::optional<EvaluationRecord> read_evaluation(const std::filesystem::path& file);

}  // namespace muster::trainer
