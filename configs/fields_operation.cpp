// The table, part 3: how the run is spread over ranks, kept safe and watched.
#include "configs/field_builder.h"

namespace muster::configs {
namespace {

using enum Resume;

std::vector<Field> sharding_fields() {
  const auto sharding = section("sharding", &Config::sharding);
  return {
      sharding("backend", &Sharding::backend, one_of<Backend>(), "",
               "carries the collectives; mpi: through shared memory inside a machine; self: one "
               "rank alone",
               kFree),
      sharding("bucket_bytes", &Sharding::bucket_bytes, at_least(1), "bytes",
               "of one window in the wire dtype; never changes results", kFree),
      sharding("overlap", &Sharding::overlap, anything(), "",
               "reduce during backward, gather during the next forward; never changes results",
               kFree),
      sharding("wire_dtype", &Sharding::wire_dtype, one_of({Dtype::kFp32, Dtype::kBf16}), "",
               "of gradients between ranks; sums are fp32 either way", kTold),
      sharding("reduce", &Sharding::reduce, one_of<Reduce>(), "",
               "ordered: same bits on any number of ranks; tree: the same with other bits, added "
               "within each node first, for many nodes; native: the backend's reduce-scatter",
               kTold),
      sharding("accumulation_budget_bytes", &Sharding::accumulation_budget_bytes, at_least(0),
               "bytes",
               "for windows summed in fp32 on each rank and reduced once a step; 0: reduce every "
               "micro-batch",
               kTold),
      sharding(
          "optimizer_device", &Sharding::optimizer_device, one_of<OptimizerDevice>(), "",
          "where moments and masters live and are updated: device, beside the weights; cpu, in "
          "the host's memory, for models bigger than the card; never changes results",
          kFree),
      sharding("timeout_s", &Sharding::timeout_s, above(0), "seconds",
               "a collective that takes longer has failed", kFree),
      sharding("checked", &Sharding::checked, anything(), "",
               "debugging: ranks compare kind, size and number of every collective before it runs; "
               "slow",
               kFree),
  };
}

std::vector<Field> checkpoint_fields() {
  const auto checkpoint = section("checkpoint", &Config::checkpoint);
  std::vector<Field> all = {
      checkpoint("every_epochs", &Checkpoint::every_epochs, at_least(1), "epochs",
                 "between checkpoints; null: checkpoint.every_steps says it", kFree),
      checkpoint("every_steps", &Checkpoint::every_steps, at_least(1), "steps",
                 "between checkpoints; null: checkpoint.every_epochs says it", kFree),
      checkpoint("keep", &Checkpoint::keep, at_least(1), "checkpoints",
                 "newest ones kept, besides the best", kFree),
      checkpoint(
          "keep_best", &Checkpoint::keep_best, at_least(1), "checkpoints",
          "best ones kept, by eval.best_metric; each evaluation that finds a new best writes "
          "one",
          kFree),
      checkpoint("resume", &Checkpoint::resume, anything(), "",
                 "continue from the newest whole one in run.dir", kFree),
  };
  pair_up(all, "checkpoint.every_epochs", "checkpoint.every_steps");
  return all;
}

std::vector<Field> eval_fields() {
  const auto eval = section("eval", &Config::eval);
  std::vector<Field> all = {
      eval("every_epochs", &Eval::every_epochs, at_least(1), "epochs",
           "between evaluations; null: eval.every_steps says it", kFree),
      eval("every_steps", &Eval::every_steps, at_least(0), "steps",
           "between evaluations; 0: only at the end; null: eval.every_epochs says it", kFree),
      eval("max_samples", &Eval::max_samples, at_least(0), "samples",
           "per evaluation; 0: all of data.val", kFree),
      eval("best_metric", &Eval::best_metric, not_empty(), "",
           "what says which checkpoint is best, and when progress ended: a name of an evaluation's "
           "line in metrics.jsonl, eval.AP50, or eval.PACK.AP of one pack among several",
           kTold),
      eval("best_mode", &Eval::best_mode, one_of<BestMode>(), "",
           "whether more of best_metric is better, or less", kTold),
      eval("from", &Eval::from, one_of<EvalFrom>(), "",
           "whose boxes are measured: the detection head's, those of the language model's answers, "
           "written greedily and read as data.answer says, or both",
           kFree),
      eval("max_answer_tokens", &Eval::max_answer_tokens, at_least(1), "tokens",
           "longest answer of the language model when eval.from wants one", kFree),
      eval("loss", &Eval::loss, anything(), "",
           "also every term of the loss, on data.val: one more forward pass of each sample", kFree),
  };
  pair_up(all, "eval.every_epochs", "eval.every_steps");
  return all;
}

std::vector<Field> health_fields() {
  const auto health = section("health", &Config::health);
  Limits backoff = between(0, 1);
  backoff.low_open = true;
  return {
      health("max_skips_in_row", &Health::max_skips_in_row, at_least(1), "steps",
             "skipped one after another before the run ends with exit code 77", kTold),
      health("loss_spike_factor", &Health::loss_spike_factor, at_least(0), "",
             "a loss this many times the recent mean skips the step; 0: off, else above 1", kTold),
      health("loss_spike_window", &Health::loss_spike_window, at_least(1), "steps",
             "that make the recent mean", kTold),
      health("lr_backoff", &Health::lr_backoff, backoff, "factor",
             "on the learning rate after a skipped step", kTold),
      health("max_grad_norm", &Health::max_grad_norm, at_least(0), "",
             "a larger norm before clipping skips the step; 0: off", kTold),
      health(
          "kept_batches", &Health::kept_batches, at_least(0), "files",
          "of the newest skipped steps' micro-batches, kept in run.dir for muster check --replay; "
          "0: none",
          kFree),
  };
}

std::vector<Field> logging_fields() {
  const auto logging = section("logging", &Config::logging);
  return {
      logging("level", &Logging::level, one_of<log::Level>(), "", "of console and files", kFree),
      logging("every_steps", &Logging::every_steps, at_least(1), "steps", "between progress lines",
              kFree),
      logging("max_bytes", &Logging::max_bytes, at_least(4096), "bytes",
              "of one rank's log and its predecessor", kFree),
      logging("tensorboard", &Logging::tensorboard, anything(), "",
              "also write TensorBoard event files", kFree),
      logging("command", &Logging::command, anything(), "",
              "program and arguments; rank 0 feeds it the lines of metrics.jsonl; []: none", kFree),
      logging("peak_tflops", &Logging::peak_tflops, above(0), "1e12 operations/s",
              "that one rank's device can do in model.dtype, for the MFU; null: a known GPU's data "
              "sheet, a CPU's own short product",
              kFree),
  };
}

std::vector<Field> launch_fields() {
  const auto launch = section("launch", &Config::launch);
  return {
      launch("max_restarts", &Launch::max_restarts, at_least(0), "restarts",
             "after failures, in one launch", kFree),
      launch("start_timeout_s", &Launch::start_timeout_s, above(0), "seconds",
             "silence of a rank before its first step that counts as a hang", kFree),
      launch("step_timeout_s", &Launch::step_timeout_s, above(0), "seconds",
             "silence of a rank within a step that counts as a hang", kFree),
      launch("checkpoint_timeout_s", &Launch::checkpoint_timeout_s, above(0), "seconds",
             "silence of a rank in a checkpoint or evaluation that counts as a hang", kFree),
      launch("min_ranks", &Launch::min_ranks, at_least(0), "ranks",
             "a restart leaves lost hosts out as long as this many remain and divide G; 0: never "
             "fewer",
             kFree),
      launch("hosts", &Launch::hosts, anything(), "",
             "NAME or NAME:SLOTS each; []: this machine, or SLURM's choice", kFree),
      launch("ranks_per_node", &Launch::ranks_per_node, at_least(0), "ranks",
             "on each host; 0: as many as fit", kFree),
      launch("cpu_binding", &Launch::cpu_binding, one_of<CpuBinding>(), "",
             "of a rank; core: run.threads_per_rank cores of its own", kFree),
      launch("gpu_binding", &Launch::gpu_binding, one_of<GpuBinding>(), "",
             "local_rank: a rank sees its own GPU alone (CUDA_VISIBLE_DEVICES)", kFree),
      launch("black_box", &Launch::black_box, one_of<BlackBox>(), "",
             "where a rank's black box lies while it runs; local: its machine's own TMPDIR; auto: "
             "local on several hosts",
             kFree),
      launch("environment", &Launch::environment, anything(), "NAME: text",
             "variables set for the ranks", kFree),
  };
}

}  // namespace

std::vector<Field> operation_fields() {
  std::vector<Field> all;
  for (const auto& part : {sharding_fields(), checkpoint_fields(), eval_fields(), health_fields(),
                           logging_fields(), launch_fields()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace muster::configs
