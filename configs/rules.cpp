#include "configs/rules.h"

#include <algorithm>
#include <cmath>

#include "configs/groups.h"

namespace muster::configs {
namespace {

using C = const Config&;

bool every_val_pack_once(C c) {
  return std::ranges::all_of(c.data.val, [](const PackShare& share) { return share.weight == 1; });
}

std::vector<Rule> data_rules() {
  return {
      {{"data.val"},
       "weights must be 1: an evaluation sees every sample once",
       every_val_pack_once},
      {{"data.augment.scale"},
       "must have the smaller factor first",
       [](C c) { return c.data.augment.scale[0] <= c.data.augment.scale[1]; }},
  };
}

std::vector<Rule> model_rules() {
  return {
      {{"data.min_pixels", "data.max_pixels"},
       "must not exceed data.max_pixels",
       [](C c) { return c.data.min_pixels <= c.data.max_pixels; }},
      {{"data.max_vision_tokens", "batch.max_vision_tokens"},
       "must not exceed batch.max_vision_tokens, or one sample alone overflows a micro-batch",
       [](C c) { return c.data.max_vision_tokens <= c.batch.max_vision_tokens; }},
      {{"data.max_vision_tokens", "batch.max_tokens"},
       "must not exceed batch.max_tokens, or one sample alone overflows a micro-batch",
       [](C c) { return c.data.max_vision_tokens <= c.batch.max_tokens; }},
      {{"detection.hidden_size", "detection.num_heads"},
       "must be a multiple of 4 and of detection.num_heads",
       [](C c) {
         return c.detection.hidden_size % 4 == 0 &&
                c.detection.hidden_size % c.detection.num_heads == 0;
       }},
  };
}

template <auto kTargets, auto kGroup>
bool adapters_learn(C c) {
  return !c.lora.enabled || (c.lora.targets.*kTargets).empty() || (c.groups.*kGroup).lr > 0;
}

// Adapters of a frozen group would stay what they are at first, which is nothing.
template <auto kTargets, auto kGroup>
Rule adapters_rule(const std::string& group) {
  const std::string rate = "groups." + group + ".lr";
  return {{"lora.targets." + group, rate, "lora.enabled"},
          "must be [] when " + rate + " is 0: the adapters would never learn",
          adapters_learn<kTargets, kGroup>};
}

std::vector<Rule> lora_rules() {
  return {
      {{"lora.targets.model", "lora.targets.visual", "lora.targets.merger", "lora.enabled"},
       "must name a layer when lora.enabled, or one of the other lists must",
       [](C c) {
         const LoraTargets& targets = c.lora.targets;
         return !c.lora.enabled || !targets.model.empty() || !targets.visual.empty() ||
                !targets.merger.empty();
       }},
      {{"model.adapter", "lora.enabled"},
       "needs lora.enabled: an adapter has no place in a run that trains the weights themselves",
       [](C c) { return c.lora.enabled || c.model.adapter.empty(); }},
      adapters_rule<&LoraTargets::merger, &Groups::merger>("merger"),
      adapters_rule<&LoraTargets::visual, &Groups::visual>("visual"),
      adapters_rule<&LoraTargets::model, &Groups::model>("model"),
  };
}

bool some_loss(C c) {
  const bool language = c.loss.lm > 0;
  const bool head =
      c.loss.box_l1 > 0 || c.loss.giou > 0 || c.loss.objectness > 0 || c.loss.caption > 0;
  return language || (c.detection.enabled && head);
}

bool some_rate(C c) {
  return std::ranges::any_of(
      kGroups, [&](const GroupEntry& group) { return (c.groups.*group.member).lr > 0; });
}

// One of two keys that say the same is given, the other null.
template <auto kSection, auto kOne, auto kOther>
Rule one_of_two(const std::string& one, const std::string& other) {
  return {{one, other}, "must be null, or " + other + " must be: one of the two is said", [](C c) {
            return (c.*kSection.*kOne).has_value() != (c.*kSection.*kOther).has_value();
          }};
}

std::vector<Rule> length_rules() {
  return {
      one_of_two<&Config::schedule, &Schedule::epochs, &Schedule::max_steps>("schedule.epochs",
                                                                             "schedule.max_steps"),
      one_of_two<&Config::schedule, &Schedule::warmup_ratio, &Schedule::warmup_steps>(
          "schedule.warmup_ratio", "schedule.warmup_steps"),
      one_of_two<&Config::checkpoint, &Checkpoint::every_epochs, &Checkpoint::every_steps>(
          "checkpoint.every_epochs", "checkpoint.every_steps"),
      one_of_two<&Config::eval, &Eval::every_epochs, &Eval::every_steps>("eval.every_epochs",
                                                                         "eval.every_steps"),
      {{"schedule.step_at", "schedule.kind"},
       "must rise, and not be [] for kind step",
       [](C c) {
         const std::vector<double>& at = c.schedule.step_at;
         return std::ranges::is_sorted(at, std::ranges::less_equal()) &&
                (c.schedule.kind != ScheduleKind::kStep || !at.empty());
       }},
      {{"eval.best_metric"},
       "must be the name of an evaluation's metric, which starts with eval.",
       [](C c) { return c.eval.best_metric.starts_with("eval."); }},
      {{"detection.freeze_epochs", "loss.lm", "detection.enabled"},
       "must be 0 when loss.lm is 0: nothing would train before the head does",
       [](C c) { return c.detection.freeze_epochs == 0 || !c.detection.enabled || c.loss.lm > 0; }},
  };
}

// Not only at the end.
bool evaluates_on_the_way(C c) {
  return (c.eval.every_epochs || c.eval.every_steps.value_or(0) >= 1) && !c.data.val.empty();
}

std::vector<Rule> training_rules() {
  return {
      {{"loss.lm", "data.answer"},
       "must be 0 when data.answer is none: there is no text to learn",
       [](C c) { return c.data.answer != Answer::kNone || c.loss.lm == 0; }},
      {{"loss.lm", "loss.box_l1", "loss.giou", "loss.objectness", "loss.caption",
        "detection.enabled"},
       "must be above 0, or one of the detection losses with detection.enabled: nothing would be "
       "trained",
       some_loss},
      {{"groups.model.lr", "groups.merger.lr", "groups.visual.lr", "groups.detection_head.lr",
        "groups.lm_head.lr"},
       "must be above 0, or that of another group: everything would be frozen",
       some_rate},
      {{"schedule.kind", "schedule.patience", "eval.every_steps", "eval.every_epochs", "data.val"},
       "plateau needs schedule.patience >= 1, eval.every_steps >= 1 or eval.every_epochs, and "
       "data.val",
       [](C c) {
         return c.schedule.kind != ScheduleKind::kPlateau ||
                (c.schedule.patience >= 1 && evaluates_on_the_way(c));
       }},
      {{"schedule.patience", "eval.every_steps", "eval.every_epochs", "data.val"},
       "needs eval.every_steps >= 1 or eval.every_epochs, and data.val, or be 0",
       [](C c) { return c.schedule.patience == 0 || evaluates_on_the_way(c); }},
      {{"health.loss_spike_factor"},
       "must be 0 (off) or above 1",
       [](C c) { return c.health.loss_spike_factor == 0 || c.health.loss_spike_factor > 1; }},
  };
}

bool names_fit_environment(C c) {
  return std::ranges::none_of(c.launch.environment, [](const auto& variable) {
    return variable.first.empty() || variable.first.find('=') != std::string::npos;
  });
}

std::vector<Rule> machine_rules() {
  return {
      {{"sharding.backend", "run.device"},
       "nccl needs run.device cuda; on cpu use mpi, gloo or self",
       [](C c) { return c.sharding.backend != Backend::kNccl || c.run.device == Device::kCuda; }},
      {{"sharding.wire_dtype", "model.dtype"},
       "must be fp32 when model.dtype is fp16: bf16 would lose its digits",
       [](C c) { return c.model.dtype != Dtype::kFp16 || c.sharding.wire_dtype == Dtype::kFp32; }},
      {{"optimizer.master", "model.dtype"},
       "must be fp32 unless model.dtype is bf16",
       [](C c) { return c.optimizer.master == Master::kFp32 || c.model.dtype == Dtype::kBf16; }},
      {{"optimizer.rounding", "optimizer.master", "optimizer.moments"},
       "must be stochastic when optimizer.master is none or optimizer.moments is bf16: small "
       "changes would be lost",
       [](C c) {
         return c.optimizer.rounding == Rounding::kStochastic ||
                (c.optimizer.master != Master::kNone && c.optimizer.moments == Dtype::kFp32);
       }},
      {{"optimizer.loss_scale_initial"},
       "must be a power of two, so that it can be divided out exactly",
       [](C c) {
         int exponent = 0;
         return std::frexp(c.optimizer.loss_scale_initial, &exponent) == 0.5 && exponent <= 31;
       }},
      {{"launch.environment"}, "names must not be empty or hold '='", names_fit_environment},
  };
}

}  // namespace

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> list = model_rules();
    for (const auto& part :
         {data_rules(), lora_rules(), length_rules(), training_rules(), machine_rules()})
      list.insert(list.end(), part.begin(), part.end());
    return list;
  }();
  return all;
}

const std::vector<Rule>& advice() {
  static const std::vector<Rule> all = {
      {{"schedule.warmup_steps", "schedule.max_steps"},
       "should be below schedule.max_steps: the learning rate never reaches its peak",
       [](C c) {
         return !c.schedule.warmup_steps || !c.schedule.max_steps ||
                *c.schedule.warmup_steps < *c.schedule.max_steps;
       }},
      {{"schedule.decay_ratio", "schedule.warmup_ratio", "schedule.kind"},
       "should leave room beside schedule.warmup_ratio: the learning rate never reaches its peak",
       [](C c) {
         return c.schedule.kind != ScheduleKind::kWsd ||
                c.schedule.decay_ratio + c.schedule.warmup_ratio.value_or(0) <= 1;
       }},
      {{"sharding.timeout_s", "launch.step_timeout_s"},
       "should be above launch.step_timeout_s: waiting ranks give up before the launcher has found "
       "the one that hangs",
       [](C c) { return c.sharding.timeout_s > c.launch.step_timeout_s; }},
      {{"data.augment.crop", "data.augment.crop_min_size"},
       "should go with a data.augment.crop_min_size below 1: every window is the whole picture",
       [](C c) { return c.data.augment.crop == 0 || c.data.augment.crop_min_size < 1; }},
      {{"model.dtype", "run.device"},
       "should not be fp16 on cpu: bf16 has its size and the range of fp32",
       [](C c) { return c.model.dtype != Dtype::kFp16 || c.run.device != Device::kCpu; }},
  };
  return all;
}

}  // namespace muster::configs
