// Checkpoints: whole or absent (law 11). checkpoints/step-000123/ holds manifest.json,
// model.safetensors with config.json and the tokenizer (so the folder is a Hugging Face folder),
// detection_head.safetensors, class_map.json, config.yaml and one optimizer-<rank>-of-<N>.h5 per
// rank. Every rank writes its files into step-000123.tmp from a background thread, with a one-line
// checksum note beside each; when the step consensus says that all ranks are done, rank 0 gathers
// the notes into manifest.json, fsyncs and renames.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainer/checkpoint/base_model.h"
#include "trainer/checkpoint/run_state.h"

namespace muster::trainer {

struct Manifest {
  RunState state;
  int world_size = 0;
  std::string layout_hash, data_fingerprint, muster_version;
  std::optional<BaseModel> base;  // of a LoRA run: what its adapters stand on
  struct File {
    std::int64_t bytes = 0;
    std::string xxh128;
  };
  std::map<std::string, File> files;

  std::string to_json() const;
  static Manifest from_json(const std::string& text,
                            const std::filesystem::path& where);  // throws CheckpointError
};

Manifest read_manifest(const std::filesystem::path& checkpoint);

class CheckpointStore {
 public:
  CheckpointStore(const std::filesystem::path& run_dir, int rank, int world_size,
                  std::int64_t keep);
  ~CheckpointStore();  // waits for a running write

  // Rank 0, before any rank loads: removes unfinished folders, checks sizes and checksums from the
  // newest checkpoint down, renames damaged ones to step-*.damaged with a warning. The newest whole
  // one, if any.
  std::optional<std::filesystem::path> find_newest_whole();

  // A job writes its files into the folder it is given and returns their names. Jobs hold host
  // copies, nothing of the model.
  using Job = std::function<std::vector<std::string>(const std::filesystem::path& folder)>;
  // Starts writing this rank's part in the background. REQUIRES !busy().
  void begin(const Manifest& manifest, Job job);
  bool busy() const { return pending_.has_value(); }

  // True once this rank's files of the pending checkpoint are on disk. Rethrows what the writer
  // threw (IoError).
  bool written();
  // Rank 0 renames the folder into place and deletes old ones beyond `keep` (never the best one);
  // other ranks forget it. Returns its step.
  std::int64_t commit();
  // Blocks until this rank's files are on disk.
  void wait();

  static std::filesystem::path folder_name(std::int64_t step);  // "step-000123"
  std::filesystem::path root() const { return root_; }
  void mark_best(std::int64_t step, double metric);  // rank 0; writes best.json

 private:
  void prune();

  std::filesystem::path root_;
  int rank_, world_size_;
  std::int64_t keep_;
  std::optional<Manifest> pending_;
  std::future<void> writer_;
};

// Throws CheckpointError naming the file that is missing, or of another size or checksum than the
// manifest says; `with_optimizer` false leaves optimizer-* alone. A folder without manifest
// (Hugging Face) has nothing to compare.
void verify_checkpoint(const std::filesystem::path& folder, bool with_optimizer);

// The folder a command line names: a step-* folder, a run folder (its best, else its newest), or a
// Hugging Face folder. Throws CheckpointError.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& named);

}  // namespace muster::trainer
