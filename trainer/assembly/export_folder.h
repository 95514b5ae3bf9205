// A checkpoint as a Hugging Face folder.
#pragma once

#include <cstdint>
#include <filesystem>

namespace muster::trainer {

// Which weights of a checkpoint: those that it has as its model's, which of a run with ema.decay
// are the running mean; or one of the two by name.
enum class ExportedWeights { kStored, kRaw, kEma };

struct ExportOptions {
  std::int64_t shard_bytes = 5'000'000'000;
  bool merge = false;
  ExportedWeights weights = ExportedWeights::kStored;
};

// Whole or absent: written beside `out` and renamed. Weights go to one file, or to shards of at
// most `shard_bytes` with an index, under the names that transformers looks for; config.json has
// the layout that its every version reads (model/files/portable_config.h); the small files come
// along; the image processor's files get the limits, mean and std of config.yaml, and
// preprocessor_config.json is made where the run had none. With a detection head also
// detection_head.safetensors, class_map.json and config.yaml, so that predict and eval take the
// folder too, and beside whole weights modeling_muster.py, so that transformers alone detects, too.
// Throws UsageError when `out` exists, CheckpointError when a file does not match its checksum or
// the config.
// A LoRA run's checkpoint becomes a folder in PEFT's format instead, with the head beside; with
// `merge` its adapters become part of the weights, in the dtype the run trained in.
// Raw weights of a run with a running mean are read from the optimizer's shards, which only a
// checkpoint has: UsageError for any other folder, and for kEma without a mean.
// The log says which weights were taken, and why.
void export_folder(const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                   const ExportOptions& options);

}  // namespace muster::trainer
