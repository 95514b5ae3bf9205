#include "trainer/evaluation.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "trainer/assembly/options.h"
#include "trainer/pass_threads.h"
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

CocoNumbers no_coco() {
  CocoNumbers numbers;
  for (const std::string_view name : metric::kCoco) numbers[std::string(name)] = -1;
  return numbers;
}

void set_unmeasured(BoxResult& boxes, const std::vector<std::string>& packs) {
  boxes.coco.metrics = no_coco();
  for (const std::string& pack : packs) {
    PackResult& one = boxes.packs.emplace_back();
    one.name = pack;
    one.coco.metrics = no_coco();
  }
}

// An evaluation with all that this config asks for, and no sample.
Evaluation nothing_measured(const configs::Config& config, const std::vector<std::string>& packs) {
  Evaluation evaluation;
  if (config.detection.enabled && config.eval.from != configs::EvalFrom::kText)
    set_unmeasured(evaluation.head.emplace(), packs);
  if (config.eval.from != configs::EvalFrom::kHead) {
    TextResult& text = evaluation.text.emplace();
    text.has_boxes = lists_boxes(answer_format(config.data.answer));
    if (text.has_boxes) set_unmeasured(text.boxes, packs);
  }
  if (!config.eval.loss) return evaluation;
  const LossTerms terms(config.loss, config.detection.labels);
  evaluation.loss.emplace().loss.terms.resize(static_cast<std::size_t>(terms.size()));
  for (std::int64_t i = 0; i < terms.size(); ++i) evaluation.loss_names.push_back(terms.name(i));
  return evaluation;
}

EvalOptions eval_options(const configs::Config& config, const model::Detector& detector) {
  const std::size_t caption_words = detector.head_config().caption_tokens.size();
  return {.max_samples = config.eval.max_samples,
          .limits = fill_limits(config),
          .cost = token_cost(config, detector.backbone().config(),
                             static_cast<std::int64_t>(caption_words))};
}

// One of COCO's numbers of the boxes that a run is judged by.
bool is_coco_name(std::string_view name) {
  return std::ranges::any_of(metric::kCoco, [&](std::string_view coco) {
    return name == metric::name(metric::kEval, coco);
  });
}

}  // namespace

const BoxResult* Evaluation::boxes() const {
  if (head) return &*head;
  return text && text->has_boxes ? &text->boxes : nullptr;
}

Evaluation evaluate_all(model::Detector& detector, const data::Tokenizer& tokenizer,
                        const data::SampleSet& set, const data::SampleEncoder& encoder,
                        const configs::Config& config, sharding::Collective& collective,
                        std::optional<EvalBatches>& kept) {
  const PassThreads threads = pass_threads(config.run);
  const bool from_head = config.detection.enabled && config.eval.from != configs::EvalFrom::kText;
  if (!kept && (from_head || config.eval.loss))
    kept = eval_batches(set, encoder, eval_options(config, detector), threads.all());
  Evaluation evaluation;
  if (from_head)
    evaluation.head =
        evaluate(detector, tokenizer, set, encoder, *kept, threads, collective);  // [C]
  if (config.eval.from != configs::EvalFrom::kHead)
    evaluation.text = evaluate_text(detector, tokenizer, set, encoder,
                                    {.max_samples = config.eval.max_samples,
                                     .max_answer_tokens = config.eval.max_answer_tokens,
                                     .threads = threads},
                                    collective);  // [C]
  if (!config.eval.loss) return evaluation;
  const LossTerms terms(config.loss, config.detection.labels);
  evaluation.loss = validation_loss(detector, set, kept->all, encoder, terms,
                                    head_loss_options(config), threads, collective);  // [C]
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

std::vector<std::string> evaluation_metrics(const configs::Config& config,
                                            const std::vector<std::string>& packs) {
  const Evaluation measured = nothing_measured(config, packs);
  std::vector<std::string> names;
  for (const auto& [name, value] : evaluation_row(0, measured)) {
    if (name != metric::kStep) names.push_back(name);
  }
  return names;
}

void check_best_metric(const configs::Config& config, const data::SampleSet& val) {
  const std::string& wanted = config.eval.best_metric;
  const std::vector<std::string> packs = pack_names(val);
  const bool boxes = nothing_measured(config, {}).boxes() != nullptr;
  const std::vector<std::string> names =
      evaluation_metrics(config, packs.size() > 1 ? packs : std::vector<std::string>{});
  if (std::ranges::find(names, wanted) != names.end()) return;
  // base.yaml names boxes' AP50: a run without boxes is never judged by them.
  if (!boxes && is_coco_name(wanted)) return;
  const std::string near = nearest_name(wanted, names);
  throw ConfigError(fmt::format(
      "eval.best_metric: no evaluation of this config has {}{}; they have {}", wanted,
      near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near), join(names, ", ")));
}

double best_metric_of(const Evaluation& evaluation, const configs::Eval& config) {
  const MetricsRow row = evaluation_row(0, evaluation);
  const auto found = std::ranges::find(row, config.best_metric, &MetricsRow::value_type::first);
  const bool known = found != row.end() && measured(found->second);
  return known ? found->second : std::numeric_limits<double>::quiet_NaN();
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
