// The table, part 2: how it is trained.
#include "configs/field_builder.h"
#include "configs/groups.h"

namespace muster::configs {
namespace {

using enum Resume;

std::vector<Field> group_fields(const GroupEntry& entry) {
  const Section group(
      "groups." + std::string(entry.name), [member = entry.member](auto& config) -> auto& {
        return config.groups.*member;
      });
  Limits part = between(0, 1);
  part.low_open = true;
  std::vector<Field> all = {
      group("lr", &Group::lr, at_least(0), "", "peak learning rate of ", kTold),
      group("weight_decay", &Group::weight_decay, at_least(0), "",
            "decoupled decay, times the rate, of ", kTold),
      group("layer_decay", &Group::layer_decay, part, "",
            "a layer's rate over that of the layer after it; the last learns at lr, what comes "
            "before the first a step below it; 1: all the same, in ",
            kTold),
      group("first_layers_frozen", &Group::first_layers_frozen, at_least(0), "layers",
            "that stay as they are, with what comes before them; 0: none, of ", kNever),
  };
  for (Field& field : all) field.meaning += entry.covers;
  all.front().meaning += "; 0: frozen, no gradient, no state, no traffic";
  return all;
}

Field freeze_field() {
  const auto groups = section("groups", &Config::groups);
  return groups("freeze", &Groups::freeze, anything(), "regular expressions",
                "parameters in whose names (as muster params prints them) one of these is found "
                "stay as they are, whatever their group's rate; each must be found in some",
                kNever);
}

std::vector<Field> ema_fields() {
  const auto ema = section("ema", &Config::ema);
  Limits decay = between(0, 1);
  decay.high_open = true;
  return {
      ema("decay", &Ema::decay, decay, "",
          "of the running mean of the weights, which is evaluated and exported: mean += (1 - "
          "decay) "
          "* (weight - mean) after every step; 0: off",
          kTold),
      ema("tau", &Ema::tau, at_least(0), "steps",
          "the decay of step t is decay * (1 - exp(-t / tau)), so that a short run's mean forgets "
          "its start; 0: decay from the first step",
          kTold),
  };
}

std::vector<Field> optimizer_fields() {
  const auto optimizer = section("optimizer", &Config::optimizer);
  Limits decay_rate = between(0, 1);
  decay_rate.high_open = true;
  return {
      optimizer("beta1", &Optimizer::beta1, decay_rate, "", "AdamW: memory of the gradient's mean",
                kTold),
      optimizer("beta2", &Optimizer::beta2, decay_rate, "",
                "AdamW: memory of the gradient's square", kTold),
      optimizer("eps", &Optimizer::eps, above(0), "",
                "AdamW: added to the root of the second moment", kTold),
      optimizer("clip_norm", &Optimizer::clip_norm, at_least(0), "",
                "largest global gradient norm; 0: no clipping", kTold),
      optimizer("decay_1d", &Optimizer::decay_1d, anything(), "", "also decay norms and biases",
                kTold),
      optimizer("master", &Optimizer::master, one_of<Master>(), "",
                "fp32 value behind a bf16 or fp16 weight: beside it; its low half beside it (bf16: "
                "same bits, 2 bytes "
                "less); the weight alone (bf16). fp32 weights are their own",
                kTold),
      optimizer("moments", &Optimizer::moments, one_of({Dtype::kFp32, Dtype::kBf16}), "",
                "storage of both moments", kTold),
      optimizer("rounding", &Optimizer::rounding, one_of<Rounding>(), "",
                "of bf16 moments, and of weights without a master; stochastic draws depend on "
                "run.seed, step and place",
                kTold),
      optimizer("loss_scale_initial", &Optimizer::loss_scale_initial, at_least(1), "factor",
                "fp16 only: of the loss, a power of two; halves when gradients overflow", kTold),
      optimizer("loss_scale_growth_interval", &Optimizer::loss_scale_growth_interval, at_least(1),
                "steps", "fp16 only: finite ones in a row before the scale doubles", kTold),
      optimizer("loss_scale_hysteresis", &Optimizer::loss_scale_hysteresis, at_least(1), "steps",
                "fp16 only: overflows before the scale halves for the first time after a growth",
                kTold),
  };
}

std::vector<Field> schedule_fields() {
  const auto schedule = section("schedule", &Config::schedule);
  Limits inside = between(0, 1);
  inside.low_open = true;
  inside.high_open = true;
  Limits factor = between(0, 1);
  factor.low_open = true;
  std::vector<Field> all = {
      schedule("kind", &Schedule::kind, one_of<ScheduleKind>(), "",
               "shape of the learning rate after warm-up", kTold),
      schedule("epochs", &Schedule::epochs, at_least(1), "epochs",
               "length of the run in passes over data.train; null: schedule.max_steps says it",
               kTold),
      schedule("max_steps", &Schedule::max_steps, at_least(1), "steps",
               "length of the run in optimizer steps; null: schedule.epochs says it", kTold),
      schedule("warmup_ratio", &Schedule::warmup_ratio, between(0, 1), "of the run",
               "linear rise from 0 to the peak; null: schedule.warmup_steps says it", kTold),
      schedule("warmup_steps", &Schedule::warmup_steps, at_least(0), "steps",
               "linear rise from 0 to the peak; null: schedule.warmup_ratio says it", kTold),
      schedule("min_lr_ratio", &Schedule::min_lr_ratio, between(0, 1), "of the peak",
               "learning rate at the end of linear, cosine, one_cycle and wsd, and the least of "
               "plateau",
               kTold),
      schedule("step_at", &Schedule::step_at, inside, "of the run",
               "where kind step multiplies the rate by step_factor, rising", kTold),
      schedule("step_factor", &Schedule::step_factor, factor, "factor", "of kind step", kTold),
      schedule("decay_ratio", &Schedule::decay_ratio, factor, "of the run",
               "its end, in which kind wsd lowers the constant rate along a line to min_lr_ratio",
               kTold),
      schedule("patience", &Schedule::patience, at_least(0), "evaluations",
               "without progress before plateau lowers the rate, or before any other kind stops; "
               "0: never",
               kTold),
  };
  pair_up(all, "schedule.epochs", "schedule.max_steps");
  pair_up(all, "schedule.warmup_ratio", "schedule.warmup_steps");
  return all;
}

std::vector<Field> batch_fields() {
  const auto batch = section("batch", &Config::batch);
  return {
      batch("micro_batches_per_step", &Batch::micro_batches_per_step, at_least(1), "micro-batches",
            "over all ranks; a multiple of the world size, so the run continues on any divisor of "
            "it",
            kEpoch),
      batch("max_tokens", &Batch::max_tokens, at_least(1), "tokens",
            "per micro-batch, text and vision together", kEpoch),
      batch("max_vision_tokens", &Batch::max_vision_tokens, at_least(1), "tokens",
            "per micro-batch", kEpoch),
      batch("max_samples", &Batch::max_samples, at_least(1), "samples", "per micro-batch", kEpoch),
  };
}

void append(std::vector<Field>& all, std::vector<Field> part) {
  all.insert(all.end(), part.begin(), part.end());
}

}  // namespace

std::vector<Field> training_fields() {
  std::vector<Field> all;
  for (const GroupEntry& entry : kGroups) append(all, group_fields(entry));
  all.push_back(freeze_field());
  append(all, optimizer_fields());
  append(all, ema_fields());
  append(all, schedule_fields());
  append(all, batch_fields());
  return all;
}

}  // namespace muster::configs
