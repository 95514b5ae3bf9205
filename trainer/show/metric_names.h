// The names of metrics.jsonl, in one place: the trainer writes them, the report and TensorBoard
// show them, and docs/metrics.md has the table of them.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace muster::trainer {

namespace metric {

inline constexpr std::string_view kStep = "step";
inline constexpr std::string_view kEpoch = "epoch";
inline constexpr std::string_view kLoss = "loss";
inline constexpr std::string_view kGradNorm = "grad_norm";
inline constexpr std::string_view kSkipped = "skipped";
inline constexpr std::string_view kTokens = "tokens";
inline constexpr std::string_view kImages = "images";
inline constexpr std::string_view kFill = "fill";
inline constexpr std::string_view kBalance = "balance";
inline constexpr std::string_view kTokensPerSecond = "tokens_per_s";
inline constexpr std::string_view kTflops = "tflops";
inline constexpr std::string_view kMfu = "mfu";
inline constexpr std::string_view kSeconds = "seconds";
inline constexpr std::string_view kLossScale = "loss_scale";
inline constexpr std::string_view kWireBytes = "wire_bytes";
inline constexpr std::string_view kMemoryBytes = "memory_bytes";

// Families: the prefix of several names.
inline constexpr std::string_view kLossTerm = "loss.";
inline constexpr std::string_view kLearningRate = "lr.";
inline constexpr std::string_view kGroupGradNorm = "grad_norm.";
inline constexpr std::string_view kWeightNorm = "weight_norm.";
inline constexpr std::string_view kUpdateRatio = "update_ratio.";
inline constexpr std::string_view kPhaseSeconds = "seconds.";
inline constexpr std::string_view kMemory = "memory.";
inline constexpr std::string_view kEval = "eval.";

// The phases of kPhaseSeconds, in the order in which a step runs through them.
inline constexpr std::string_view kData = "data";
inline constexpr std::string_view kForward = "forward";
inline constexpr std::string_view kBackward = "backward";
inline constexpr std::string_view kCommunication = "communication";
inline constexpr std::string_view kOptimizer = "optimizer";
inline constexpr std::string_view kCheckpoint = "checkpoint";
inline constexpr std::array kPhases = {kData,          kForward,   kBackward,
                                       kCommunication, kOptimizer, kCheckpoint};

// Members of kEval: COCO's, as pycocotools prints them, and one of ours.
inline constexpr std::string_view kAp = "AP";
inline constexpr std::string_view kAp50 = "AP50";
inline constexpr std::array<std::string_view, 12> kCoco = {
    kAp, kAp50, "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};
inline constexpr std::string_view kClassAgnosticAp50 = "class_agnostic_AP50";
inline constexpr std::string_view kBestF1 = "best_F1";
inline constexpr std::string_view kBestF1Threshold = "best_F1_threshold";
inline constexpr std::string_view kCaptionExact = "caption_exact";
inline constexpr std::string_view kPerplexity = "perplexity";
// Families within kEval: the loss, and what the language model's own answers are worth.
inline constexpr std::string_view kEvalLoss = "eval.loss";
inline constexpr std::string_view kEvalLossTerm = "eval.loss.";
inline constexpr std::string_view kEvalText = "eval.text.";
inline constexpr std::string_view kTextExact = "exact";
inline constexpr std::string_view kTextMalformed = "malformed";
inline constexpr std::string_view kTextCut = "cut";

// Of one validation pack among several: "eval.NAME.AP".
inline std::string pack_name(std::string_view pack, std::string_view member) {
  return std::string(kEval).append(pack).append(".").append(member);
}

inline std::string name(std::string_view family, std::string_view member) {
  return std::string(family).append(member);
}

}  // namespace metric

struct MetricEntry {
  std::string_view name;    // a family ends with its dot
  std::string_view member;  // what follows the dot: <term>, <group>, ...; "" for a single name
  std::string_view meaning;
};

// In the order in which a step's line has them; the evaluation's come last.
inline constexpr std::array kMetrics = {
    MetricEntry{metric::kStep, "", "optimizer steps taken, this one counted"},
    MetricEntry{metric::kEpoch, "", "the pass over the data that the step belongs to, from 0"},
    MetricEntry{metric::kLoss, "",
                "the sum of the terms, each times its weight of the config's `loss` section"},
    MetricEntry{metric::kLossTerm, "<term>",
                "the term's sum over all ranks, divided by the step's global denominator, not "
                "weighted"},
    MetricEntry{metric::kLearningRate, "<group>", "the group's learning rate in this step"},
    MetricEntry{metric::kGroupGradNorm, "<group>", "the norm of the group's gradient"},
    MetricEntry{metric::kGradNorm, "", "the norm of the whole gradient, before clipping"},
    MetricEntry{metric::kWeightNorm, "<group>",
                "the norm of the group's trained weights after the step, as the optimizer holds "
                "them; like the next one, of every `logging.every_steps`-th step that was not "
                "skipped"},
    MetricEntry{metric::kUpdateRatio, "<group>",
                "the norm of what the step changed in them, over that; about 1e-3 is usual"},
    MetricEntry{metric::kSkipped, "", "1 when the step changed no parameter, else 0"},
    MetricEntry{metric::kTokens, "", "tokens of all ranks"},
    MetricEntry{metric::kImages, "", "images of all ranks"},
    MetricEntry{metric::kFill, "",
                "how full the step's micro-batches are, on average: the largest used part of the "
                "three limits of `batch`"},
    MetricEntry{metric::kBalance, "",
                "the mean cost of the step's micro-batches, divided by the largest: ranks wait for "
                "none at 1"},
    MetricEntry{metric::kTokensPerSecond, "", "tokens of all ranks per second of this step"},
    MetricEntry{metric::kTflops, "",
                "1e12 floating-point operations per second and rank that the network needs for "
                "this step ([flops.md](flops.md))"},
    MetricEntry{metric::kMfu, "",
                "`tflops` over the device's peak: the model FLOPs utilisation; absent where the "
                "peak is not known ([flops.md](flops.md))"},
    MetricEntry{metric::kSeconds, "", "wall time of the step on rank 0"},
    MetricEntry{metric::kPhaseSeconds, "<phase>",
                "rank 0's part of it in `data`, `forward`, `backward`, `communication` and "
                "`optimizer`, and in `checkpoint` what it waited for one since the step before"},
    MetricEntry{metric::kLossScale, "", "the scale of fp16, or 1 in other dtypes"},
    MetricEntry{metric::kWireBytes, "", "bytes that rank 0 sent since the step before"},
    MetricEntry{metric::kMemoryBytes, "", "the memory in use on the rank that uses most"},
    MetricEntry{metric::kMemory, "<kind>",
                "bytes of rank 0's engine: `engine` between steps; `staging`, `receive`, "
                "`gradient`, `consensus` and `snapshot` at most within the step "
                "(`sharding/plan/ledger.h`, [plan.md](plan.md))"},
    MetricEntry{
        metric::kEval, "<metric>",
        "of an evaluation: COCO's `AP`, `AP50`, `AP75`, `APs`, `APm`, `APl`, `AR1`, "
        "`AR10`, `AR100`, `ARs`, `ARm`, `ARl` of the head's boxes; -1 where there is nothing "
        "to measure, here and below"},
    MetricEntry{metric::kEval, metric::kClassAgnosticAp50, "AP50 when all classes are one"},
    MetricEntry{metric::kEval, metric::kBestF1,
                "the highest F1 of any threshold, boxes of all classes counted together (IoU 0.5)"},
    MetricEntry{metric::kEval, metric::kBestF1Threshold, "the score at which it is reached"},
    MetricEntry{metric::kEval, metric::kCaptionExact,
                "of the true boxes that some detection overlaps by half, the share whose nearest "
                "detection has exactly their caption"},
    MetricEntry{metric::kEvalLoss, "",
                "with `eval.loss`: the loss on `data.val`, as `loss` on what is trained"},
    MetricEntry{metric::kEvalLossTerm, "<term>", "a term of it, not weighted"},
    MetricEntry{metric::kEval, metric::kPerplexity,
                "of the answers' tokens: the exponential of `eval.loss.lm`"},
    MetricEntry{metric::kEvalText, "<metric>",
                "with `eval.from` `text` or `both`: COCO's metrics of the boxes in the language "
                "model's answers, all of score 1"},
    MetricEntry{metric::kEvalText, metric::kTextExact,
                "the share of its answers that are word for word what was to be learned"},
    MetricEntry{metric::kEvalText, metric::kTextMalformed,
                "the share of its answers that should list boxes and cannot be read, or not whole"},
    MetricEntry{metric::kEvalText, metric::kTextCut,
                "the share of its answers that `eval.max_answer_tokens` cut off"},
    MetricEntry{
        metric::kEval, "<pack>.<metric>",
        "with several packs in `data.val`: COCO's metrics of one by itself, named after its "
        "file"},
};

// kMetrics as Markdown, for docs/metrics.md.
std::string metrics_table();

}  // namespace muster::trainer
