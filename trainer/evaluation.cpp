#include "trainer/evaluation.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "trainer/assembly/options.h"
#include "trainer/show/metric_names.h"

namespace muster::trainer {
namespace {

void append(MetricsRow& row, std::string_view family, std::string_view member, double value) {
  row.emplace_back(metric::name(family, member), value);
}

void append_coco(MetricsRow& row, std::string_view family, const CocoNumbers& numbers) {
  for (const auto& [name, value] : numbers) append(row, family, name, value);
}

void append_packs(MetricsRow& row, const std::string& prefix, const BoxResult& boxes) {
  for (const PackResult& pack : boxes.packs)
    for (const auto& [name, value] : pack.coco.metrics)
      row.emplace_back(metric::pack_name(pack.name, prefix + name), value);
}

void append_head(MetricsRow& row, const EvalResult& head) {
  append_coco(row, metric::kEval, head.coco.metrics);
  append(row, metric::kEval, metric::kClassAgnosticAp50, head.class_agnostic_ap50);
  const OperatingPoint best = head.curves.all.best();
  const bool known = head.curves.all.truths > 0;
  append(row, metric::kEval, metric::kBestF1, known ? best.f1() : -1);
  append(row, metric::kEval, metric::kBestF1Threshold, known ? best.threshold : -1);
  append(row, metric::kEval, metric::kCaptionExact, head.caption_exact);
  append_packs(row, "", head);
}

void append_text(MetricsRow& row, const TextResult& text) {
  const auto share = [&](std::int64_t part) {
    return text.answers == 0 ? -1 : static_cast<double>(part) / static_cast<double>(text.answers);
  };
  if (text.has_boxes) append_coco(row, metric::kEvalText, text.boxes.coco.metrics);
  append(row, metric::kEvalText, metric::kTextExact, share(text.exact));
  append(row, metric::kEvalText, metric::kTextMalformed,
         text.has_boxes ? share(text.malformed) : -1);
  append(row, metric::kEvalText, metric::kTextCut, share(text.cut));
  append_packs(row, "text.", text.boxes);
}

void append_loss(MetricsRow& row, const Evaluation& evaluation) {
  const ValidationLoss& loss = *evaluation.loss;
  append(row, metric::kEvalLoss, "", loss.loss.total);
  for (std::size_t i = 0; i < evaluation.loss_names.size(); ++i)
    append(row, metric::kEvalLossTerm, evaluation.loss_names[i], loss.loss.terms[i]);
  append(row, metric::kEval, metric::kPerplexity, loss.perplexity);
}

std::vector<ClassRecord> classes_of(const BoxResult& boxes) {
  std::vector<ClassRecord> classes;
  for (std::size_t i = 0; i < boxes.coco.classes.size(); ++i) {
    ClassRecord& record = classes.emplace_back();
    record.metrics = boxes.coco.classes[i].metrics;
    record.curve = boxes.curves.classes[i];
    record.best = record.curve.best();
  }
  return classes;
}

std::string ap_text(const CocoMetrics& coco) {
  return fmt::format("AP {}  AP50 {}", measured_text(coco.metrics.at(std::string(metric::kAp))),
                     measured_text(coco.metrics.at(std::string(metric::kAp50))));
}

std::string text_line(const TextResult& text) {
  const std::string boxes =
      text.has_boxes ? fmt::format("{}, {} malformed", ap_text(text.boxes.coco), text.malformed)
                     : "no boxes asked for";
  return fmt::format("answers: {}; {} of {} word for word, {} cut by eval.max_answer_tokens", boxes,
                     text.exact, text.answers, text.cut);
}

}  // namespace

const BoxResult* Evaluation::boxes() const {
  if (head) return &*head;
  return text && text->has_boxes ? &text->boxes : nullptr;
}

Evaluation evaluate_all(model::Detector& detector, const data::Tokenizer& tokenizer,
                        const data::SampleSet& set, const data::SampleEncoder& encoder,
                        const configs::Config& config, sharding::Collective& collective) {
  const EvalOptions options{.max_samples = config.eval.max_samples,
                            .samples_per_batch = config.batch.max_samples};
  Evaluation evaluation;
  if (config.detection.enabled && config.eval.from != configs::EvalFrom::kText)
    evaluation.head = evaluate(detector, tokenizer, set, encoder, options, collective);  // [C]
  if (config.eval.from != configs::EvalFrom::kHead)
    evaluation.text = evaluate_text(detector, tokenizer, set, encoder,
                                    {.max_samples = config.eval.max_samples,
                                     .max_answer_tokens = config.eval.max_answer_tokens},
                                    collective);  // [C]
  if (!config.eval.loss) return evaluation;
  const LossTerms terms(config.loss, config.detection.labels);
  evaluation.loss = validation_loss(detector, set, encoder, terms, head_loss_options(config),
                                    options, collective);  // [C]
  for (std::int64_t i = 0; i < terms.size(); ++i) evaluation.loss_names.push_back(terms.name(i));
  return evaluation;
}

MetricsRow evaluation_row(std::int64_t step, const Evaluation& evaluation) {
  MetricsRow row;
  append(row, metric::kStep, "", static_cast<double>(step));
  if (evaluation.head) append_head(row, *evaluation.head);
  if (evaluation.text) append_text(row, *evaluation.text);
  if (evaluation.loss) append_loss(row, evaluation);
  return row;
}

double best_metric_of(const Evaluation& evaluation, const configs::Eval& config) {
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  const MetricsRow row = evaluation_row(0, evaluation);
  const auto found = std::ranges::find(row, config.best_metric, &MetricsRow::value_type::first);
  if (found != row.end()) return measured(found->second) ? found->second : kNothing;
  if (evaluation.boxes() == nullptr)
    return kNothing;  // a run without boxes is never judged by them
  std::vector<std::string> names;
  for (const auto& [name, value] : row) {
    if (name != metric::kStep) names.push_back(name);
  }
  const std::string near = nearest_name(config.best_metric, names);
  throw ConfigError(fmt::format(
      "eval.best_metric: an evaluation has no {}{}; it has {}", config.best_metric,
      near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near), join(names, ", ")));
}

std::vector<std::string> evaluation_lines(const Evaluation& evaluation) {
  std::vector<std::string> lines;
  if (evaluation.head) {
    const EvalResult& head = *evaluation.head;
    const OperatingPoint best = head.curves.all.best();
    lines.push_back(
        fmt::format("{}  class-agnostic AP50 {}  best F1 {:.4f} at score {:.3g}  ({} detections)",
                    ap_text(head.coco), measured_text(head.class_agnostic_ap50), best.f1(),
                    best.threshold, head.detections));
    lines.push_back(fmt::format("  evaluated in {}, {:.0f} % of it in the model",
                                human_seconds(head.seconds),
                                100 * head.model_seconds / std::max(head.seconds, 1e-9)));
    for (const PackResult& pack : head.packs)
      lines.push_back(fmt::format("  {}: {}", pack.name, ap_text(pack.coco)));
  }
  if (evaluation.text) lines.push_back(text_line(*evaluation.text));
  if (evaluation.loss)
    lines.push_back(fmt::format(
        "validation loss {:.4f}{}", evaluation.loss->loss.total,
        evaluation.loss->perplexity < 0
            ? ""
            : fmt::format(", perplexity of the answers {:.4g}", evaluation.loss->perplexity)));
  return lines;
}

EvaluationRecord evaluation_record(std::int64_t step, const Evaluation& evaluation) {
  EvaluationRecord record{.step = step};
  for (const auto& [name, value] : evaluation_row(step, evaluation))
    if (name.starts_with(metric::kEval)) record.metrics[name.substr(metric::kEval.size())] = value;
  const BoxResult* boxes = evaluation.boxes();
  if (boxes == nullptr) return record;
  record.all.curve = boxes->curves.all;
  record.all.best = boxes->curves.all.best();
  record.classes = classes_of(*boxes);
  if (boxes->confusion.size() > 0) record.confusion = boxes->confusion;
  return record;
}

}  // namespace muster::trainer
