// Every setting of a run, one struct per YAML section. There are no defaults: a key that is absent
// from the file (and from what it `extends`) is an error (law 1). Types, ranges, units and meanings
// live in one table, fields_*.cpp, from which the loader, --help-config and docs/config.md are
// made. A member added here goes into the table too, in the same order: a test counts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "configs/choices.h"

namespace muster::configs {

struct Run {
  std::string dir;  // everything the run writes
  std::int64_t seed;
  std::int64_t threads_per_rank;  // compute threads; they are part of what fixes the bits (law 9)
  Device device;
  bool deterministic;  // cuda: the same bits run after run (law 9)
};

struct Model {
  // Candidates are tried in order: a Hugging Face folder, or a config.json when random_init.
  std::vector<std::string> path;
  bool random_init;        // weights come from run.seed instead of from files
  Dtype dtype;             // of weights and activations
  bool checkpoint_vision;  // recompute activations of the vision tower in backward
  bool checkpoint_language;
  std::int64_t logits_chunk_tokens;  // labels per chunk of the cross-entropy
  std::string adapter;  // a folder in PEFT's format that a LoRA run starts from; "": from nothing
};

// Layers that get an adapter, per learning-rate group: names as PEFT's target_modules has them.
struct LoraTargets {
  std::vector<std::string> merger;
  std::vector<std::string> visual;
  std::vector<std::string> model;
};
struct Lora {
  bool enabled;  // the weights of model.path are frozen, adapters train beside them
  std::int64_t rank;
  double alpha;
  double dropout;
  bool rslora;             // the scale is alpha / sqrt(rank); else alpha / rank
  bool dora;               // adapters have magnitudes
  double lora_plus_ratio;  // learning rate of B over that of the rest
  LoraTargets targets;
};

struct Tokens {
  std::string tokenizer;  // folder with tokenizer.json
  // Special token -> id; every rank asserts them at start (law 2).
  std::map<std::string, std::int64_t> expected;
};

// A pack, and how often an epoch sees each of its samples.
struct PackShare {
  std::string pack;  // file
  double weight = 1;
  bool operator==(const PackShare&) const = default;
};

// Drawn anew for every sample and epoch; data/augment/augmentation.h says what each does.
struct Augment {
  double flip;  // probabilities: this one, crop and mosaic
  bool flip_words;
  std::vector<double> scale;  // smallest, largest factor
  double crop;
  double crop_min_size;
  double min_visible;
  double brightness;
  double contrast;
  double saturation;
  double hue;
  double mosaic;
  double close_after;  // of the run: from there on samples are trained as stored
};

struct Data {
  std::vector<PackShare> train;
  std::vector<PackShare> val;  // empty: no evaluation
  std::int64_t limit;          // the first so many samples of each pack; 0: all
  double repeat_factor;        // LVIS's threshold; 0: off
  std::string system_prompt;   // "" leaves the system turn out
  std::string prompt;          // the user's question after the image
  Answer answer;               // what the language model is trained to write
  std::int64_t min_pixels;     // smart_resize keeps the area between these two
  std::int64_t max_pixels;
  std::vector<double> image_mean;
  std::vector<double> image_std;
  std::int64_t max_vision_tokens;  // per sample
  OverBudget over_budget;          // what happens to a sample above it
  std::int64_t loader_threads;
  std::int64_t prefetch_bytes;
  Augment augment;
};

// Weights of the loss's terms; 0 leaves a term out.
struct Loss {
  double lm;
  double box_l1;
  double giou;
  double objectness;
  double caption;
  double aux;          // multiplies the terms of every decoder layer but the last
  double one_to_many;  // multiplies the terms of the tokens that share an object
  double denoising;    // multiplies the terms of the denoising queries
  Objectness objectness_target;
  double focal_alpha;
  double focal_gamma;
  double match_l1;  // the matcher's costs, from here on
  double match_giou;
  double match_objectness;
  double match_caption;
};

struct Detection {
  bool enabled;
  Queries queries;
  std::int64_t num_queries;
  Memory memory;
  CrossAttention cross_attention;
  std::int64_t neck_layers;  // 0: none
  std::int64_t one_to_many;  // tokens per object; 0: none
  Labels labels;
  CaptionWords caption_words;
  std::int64_t hidden_size;
  std::int64_t num_layers;
  std::int64_t num_heads;
  std::int64_t mlp_size;
  std::int64_t caption_layers;
  std::int64_t caption_max_tokens;
  std::int64_t denoising_groups;  // 0: none
  double denoising_box_noise;     // in halves of the box's size
  // Epochs before the head starts to train; until then no gradient of it reaches the backbone.
  std::int64_t freeze_epochs;
  double score_threshold;  // predict keeps no detection below it
};

struct Group {
  double lr;  // 0: frozen, no gradient, no state, no traffic
  double weight_decay;
  double layer_decay;  // a layer's rate over that of the layer after it; 1: all learn at lr
  std::int64_t first_layers_frozen;  // with all that comes before them; 0: none
};
struct Groups {
  Group merger;
  Group visual;
  Group detection_head;
  Group model;
  Group lm_head;
  std::vector<std::string> freeze;  // regular expressions of parameters that stay as they are
};

struct Optimizer {
  double beta1;
  double beta2;
  double eps;
  double clip_norm;           // 0: no clipping
  bool decay_1d;              // also decay norms and biases
  Master master;              // where the fp32 value behind a 16-bit weight lives
  Dtype moments;              // kFp32 or kBf16
  Rounding rounding;          // of what the optimizer itself keeps in bf16
  double loss_scale_initial;  // the loss scale is for fp16 alone
  std::int64_t loss_scale_growth_interval;
  std::int64_t loss_scale_hysteresis;
};

// The running mean of the weights, which is evaluated and exported.
struct Ema {
  double decay;      // 0: off
  std::int64_t tau;  // steps over which the decay rises to `decay`; 0: at once
};

// Where two keys are one choice, one of them is null.
struct Schedule {
  ScheduleKind kind;
  std::optional<std::int64_t> epochs;  // the run's length, or ...
  std::optional<std::int64_t> max_steps;
  std::optional<double> warmup_ratio;  // of the run, or ...
  std::optional<std::int64_t> warmup_steps;
  double min_lr_ratio;          // at the end, of the peak
  std::vector<double> step_at;  // parts of the run after which kind step lowers the rate ...
  double step_factor;           // ... by this
  double decay_ratio;           // of the run: its end, in which kind wsd lowers the rate
  // Evaluations without progress before plateau lowers the rate, or before another kind stops; 0:
  // never.
  std::int64_t patience;
};

struct Batch {
  std::int64_t micro_batches_per_step;  // G, over all ranks; a multiple of the world size
  std::int64_t max_tokens;              // the limits of one micro-batch, from here on
  std::int64_t max_vision_tokens;
  std::int64_t max_samples;
};

struct Sharding {
  Backend backend;
  std::int64_t bucket_bytes;  // of one window in the wire dtype
  bool overlap;               // reduce during backward, gather during the next forward
  Dtype wire_dtype;           // of gradients between ranks: kFp32 or kBf16
  Reduce reduce;
  std::int64_t accumulation_budget_bytes;
  OptimizerDevice optimizer_device;
  double timeout_s;
  bool checked;  // ranks compare every collective before it runs
};

struct Checkpoint {
  std::optional<std::int64_t> every_epochs;  // or ...
  std::optional<std::int64_t> every_steps;
  std::int64_t keep;       // newest ones
  std::int64_t keep_best;  // besides them
  bool resume;             // continue from the newest whole checkpoint in run.dir
};

struct Eval {
  std::optional<std::int64_t> every_epochs;  // or ...
  std::optional<std::int64_t> every_steps;   // 0: only at the end
  std::int64_t max_samples;                  // 0: all
  std::string best_metric;                   // of metrics.jsonl
  BestMode best_mode;
  EvalFrom from;
  std::int64_t max_answer_tokens;  // of an answer of the language model, when `from` wants them
  bool loss;                       // also every term of the loss
};

struct Health {
  std::int64_t max_skips_in_row;
  double loss_spike_factor;  // over the mean of the last loss_spike_window losses; 0: off
  std::int64_t loss_spike_window;
  double lr_backoff;          // factor on the learning rate after a skipped step
  double max_grad_norm;       // a step above it is skipped; 0: off
  std::int64_t kept_batches;  // files of skipped steps' micro-batches; 0: none
};

struct Logging {
  log::Level level;
  std::int64_t every_steps;
  std::int64_t max_bytes;
  bool tensorboard;
  std::vector<std::string> command;   // a program fed the lines of metrics.jsonl; empty: none
  std::optional<double> peak_tflops;  // of one rank's device, for the MFU
};

struct Launch {
  std::int64_t max_restarts;
  double start_timeout_s;  // silence longer than one of these three is a hang
  double step_timeout_s;
  double checkpoint_timeout_s;
  // A restart may leave lost hosts out down to this many ranks; 0: never fewer.
  std::int64_t min_ranks;
  std::vector<std::string> hosts;  // NAME or NAME:SLOTS; empty: this machine, or what SLURM gave
  std::int64_t ranks_per_node;     // 0: as many as fit
  CpuBinding cpu_binding;
  GpuBinding gpu_binding;
  BlackBox black_box;
  std::map<std::string, std::string> environment;  // of the ranks
};

struct Config {
  Run run;
  Model model;
  Lora lora;
  Tokens tokens;
  Data data;
  Loss loss;
  Detection detection;
  Groups groups;
  Optimizer optimizer;
  Ema ema;
  Schedule schedule;
  Batch batch;
  Sharding sharding;
  Checkpoint checkpoint;
  Eval eval;
  Health health;
  Logging logging;
  Launch launch;
};

// Reads `file`, the files it `extends` (relative to it), then `overrides` ("key.path=value", YAML
// scalars or flow lists). Throws one ConfigError that lists every problem: unknown key with the
// nearest name, missing key, wrong type, value out of range, each with file:line. Relative paths
// inside a file are relative to the current folder, as typed by the user.
Config load(const std::filesystem::path& file, std::span<const std::string> overrides = {});

// Names settings that are legal but seldom meant, each "key: what, got ...". `check` and the start
// of a run print them.
std::vector<std::string> warnings(const Config& config);

// Writes the resolved config as YAML that load() reads back to the same values; it becomes
// run_dir/config.yaml.
std::string to_yaml(const Config& config);

// "a.h5, b.h5", for messages.
std::string pack_names(const std::vector<PackShare>& packs);
// Their files, in order.
std::vector<std::filesystem::path> pack_files(const std::vector<PackShare>& packs);

// Describes every key with type, range, unit and meaning, for --help-config (plain text) and
// docs/config.md (Markdown).
std::string describe_fields(bool markdown);

}  // namespace muster::configs
