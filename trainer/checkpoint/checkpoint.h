// Checkpoints: whole or absent (law 11). checkpoints/step-000123/ holds manifest.json, the weights
// in Hugging Face's form with config.json and the tokenizer (so the folder is a Hugging Face
// folder), detection_head.safetensors, class_map.json, config.yaml and one
// optimizer-<rank>-of-<N>.h5 per rank. Every rank copies and writes its part from a background
// thread, into a folder of another name; when the step consensus says that all ranks are done,
// names, sizes and checksums travel to rank 0 in a collective. Rank 0 then waits, in the
// background, until it sees every file with its size, writes manifest.json, and renames.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "sharding/collectives/collective.h"
#include "trainer/checkpoint/manifest/manifest.h"
#include "trainer/checkpoint/manifest/step_folders.h"

namespace muster::trainer {

struct StoreOptions {
  std::int64_t keep = 0;         // newest checkpoints kept, besides the best
  std::int64_t keep_best = 1;    // best ones kept
  std::string best_metric = {};  // what says so
  // How long rank 0 waits for files of other machines that its own does not show yet.
  std::chrono::duration<double> patience{};
};

class CheckpointStore {
 public:
  // `collective` must outlive it.
  CheckpointStore(const std::filesystem::path& run_dir, sharding::Collective& collective,
                  const StoreOptions& options);
  ~CheckpointStore();  // waits for what is running

  // What a rank does in the background. `copy` reads the training's memory; `write` makes its files
  // in a folder from those copies and returns their names.
  struct Job {
    std::function<void()> copy;
    std::function<std::vector<std::string>(const std::filesystem::path& folder)> write;
  };
  // [C] Starts this rank's part. REQUIRES !busy().
  void begin(const Manifest& manifest, Job job);
  // Blocks until the job's copies are made: the memory may change from here on. Returns at once
  // when nothing is being copied.
  void settle();
  bool copying() const { return copied_.valid(); }
  // One is being written, or committed by this rank.
  bool busy() const { return pending_.has_value() || committer_.valid(); }

  // True once this rank's files of the pending checkpoint are on disk. Rethrows what its threads
  // threw (IoError).
  bool written();
  // [C] REQUIRES that every rank has written. Rank 0 starts to commit in the background: it renames
  // the folder into place, with `best_metric` marks it as the best one, and deletes old ones beyond
  // `keep` (never the `keep_best` best). Other ranks forget it.
  void commit(std::optional<double> best_metric = {});
  // Blocks until this rank's files are on disk.
  void wait_written();
  // Blocks until this rank has committed what it began to. Rethrows.
  void wait_committed();
  std::int64_t pending_step() const { return pending_ ? pending_->state.step : -1; }

  std::filesystem::path root() const { return root_; }

 private:
  struct Written {
    std::string name;
    Manifest::File file;
  };
  std::string agree_on_folder();  // [C]
  void commit_folder(Manifest manifest, std::optional<double> best_metric);
  void prune() const;

  std::filesystem::path root_, folder_;
  sharding::Collective& collective_;
  StoreOptions options_;
  std::optional<Manifest> pending_;
  std::future<void> copied_;
  std::future<std::vector<Written>> writer_;
  std::vector<Written> files_;  // of this rank, once written
  std::future<void> committer_;
};

}  // namespace muster::trainer
