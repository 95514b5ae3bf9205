// A run small enough for tests: synthetic scenes, the demo's model, a fraction of a second per
// step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "configs/config.h"
#include "data/ingest/pack_source.h"
#include "data/pack/pack.h"
#include "data/sources/sources.h"
#include "data/synth/synth.h"
#include "sharding/collectives/collective.h"
#include "support/test_paths.h"
#include "trainer/train_loop.h"

namespace muster::test {

// Made once per process.
class TinyData {
 public:
  static const TinyData& instance() {
    static const TinyData data;
    return data;
  }
  fs::path folder() const { return dir_.path(); }

 private:
  TinyData() : dir_("muster-tiny") {
    make("train", 24, 1);
    make("val", 4, 2);
  }
  void make(const std::string& split, std::int64_t images, std::int64_t seed) {
    data::SynthOptions options;
    options.images = images;
    options.size = 84;
    options.seed = seed;
    data::synthesise(dir_.path() / split, options);
    const auto source = data::read_source(dir_.path() / split / "annotations.json", "coco", "");
    data::pack_source(source, dir_.path() / (split + ".h5"), false, false);
  }
  TempDir dir_;
};

inline configs::Config tiny_config(const fs::path& run_dir,
                                   const std::vector<std::string>& overrides = {}) {
  const fs::path data = TinyData::instance().folder(), source = source_dir();
  std::vector<std::string> set = {"run.dir=" + run_dir.string(),
                                  "model.path=" + (source / "configs/models/demo").string(),
                                  "tokens.tokenizer=" + (data / "train").string(),
                                  "data.train=" + (data / "train.h5").string(),
                                  "data.val=" + (data / "val.h5").string(),
                                  "batch.micro_batches_per_step=4",
                                  "batch.max_samples=2",
                                  "schedule.max_steps=20",
                                  "schedule.warmup_steps=2",
                                  "checkpoint.every_steps=10",
                                  "eval.every_steps=0",
                                  "sharding.timeout_s=60",
                                  "logging.level=warn",
                                  "logging.every_steps=1000",
                                  "sharding.bucket_bytes=430080"};
  set.insert(set.end(), overrides.begin(), overrides.end());
  return configs::load(source / "tests/support/plain_demo.yaml", set);
}

// As much augmentation as there is.
inline std::vector<std::string> augmented(const std::vector<std::string>& more = {}) {
  std::vector<std::string> set = {"data.augment.flip=0.5",       "data.augment.scale=[0.5, 1.5]",
                                  "data.augment.crop=0.5",       "data.augment.crop_min_size=0.5",
                                  "data.augment.brightness=0.4", "data.augment.contrast=0.4",
                                  "data.augment.saturation=0.4", "data.augment.hue=0.1",
                                  "data.augment.mosaic=0.3",     "data.augment.close_after=0.75"};
  set.insert(set.end(), more.begin(), more.end());
  return set;
}

// The bits of every parameter, as one checksum.
inline std::string parameter_hash(const model::Detector& detector) {
  std::string hashes;
  for (const model::NamedParam& p : detector.parameters()) {
    const at::Tensor t = p.tensor.detach().cpu().contiguous();
    hashes +=
        xxh128({static_cast<const std::byte*>(t.data_ptr()), static_cast<std::size_t>(t.nbytes())});
  }
  return xxh128(std::as_bytes(std::span(hashes)));
}

struct RunResult {
  std::string parameters;             // hash, the same on every rank
  std::vector<double> losses, norms;  // per step
  bool operator==(const RunResult&) const = default;
};

// Trains as one rank of `collective`.
inline RunResult run_on(const configs::Config& config,
                        std::shared_ptr<sharding::Collective> collective) {
  RunResult result;
  trainer::Trainer trainer(config, std::move(collective));
  trainer.set_step_observer([&](const trainer::StepStats& stats) {
    result.losses.push_back(stats.agreed.loss.total);
    result.norms.push_back(stats.grad_norm);
  });
  trainer.train();
  result.parameters = parameter_hash(trainer.detector());
  return result;
}

// Trains with N ranks as threads of this process; every rank's result. `per_rank` may do something
// else than train().
template <typename Body>
std::vector<RunResult> run_threads(const configs::Config& config, int ranks, Body per_rank) {
  auto collectives = sharding::make_threads(ranks, std::chrono::seconds(60));
  std::vector<RunResult> results(ranks);
  std::vector<std::exception_ptr> errors(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        trainer::Trainer trainer(config, std::move(collectives[r]));
        trainer.set_step_observer([&, r](const trainer::StepStats& stats) {
          results[r].losses.push_back(stats.agreed.loss.total);
          results[r].norms.push_back(stats.grad_norm);
        });
        per_rank(trainer);
        results[r].parameters = parameter_hash(trainer.detector());
      } catch (...) {
        errors[r] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return results;
}

inline std::vector<RunResult> run_threads(const configs::Config& config, int ranks) {
  return run_threads(config, ranks, [](trainer::Trainer& trainer) { trainer.train(); });
}

}  // namespace muster::test
