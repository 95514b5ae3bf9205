// A micro-batch of a step that health skipped, in a file that muster check --replay runs again:
// safetensors with the tensors, and the rest as JSON in its metadata.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "trainer/loss_terms.h"

namespace muster::trainer {

struct KeptBatch {
  MicroBatch batch;
  std::int64_t step = 0;             // that was skipped, from 1
  std::int64_t number = 0;           // of the micro-batch in the run, which keys its noise
  std::string reason;                // why
  std::vector<std::string> samples;  // names
};

inline constexpr const char* kKeptFolder = "bad_batches";  // in run.dir

// Into RUN_DIR/bad_batches; all but the newest `keep` of them are deleted. Returns the file. Throws
// IoError.
std::filesystem::path keep_batch(const std::filesystem::path& run_dir, const KeptBatch& kept,
                                 std::int64_t keep);
// The micro-batches of a step, by slot, whose loss is not finite; else the one with the largest.
// `sums`: LossTerms::sums() of each, in order.
std::vector<std::int64_t> suspects(std::span<const double> sums, const LossTerms& terms,
                                   const Denominators& step);

// Throws DataError for a file that is no kept micro-batch.
KeptBatch read_kept_batch(const std::filesystem::path& file);

}  // namespace muster::trainer
