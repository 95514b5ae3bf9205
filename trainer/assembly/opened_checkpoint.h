// A trained detector with everything needed to use it.
#pragma once

#include <filesystem>
#include <optional>

#include "configs/config.h"
#include "data/encoder.h"
#include "data/pack/pack.h"
#include "data/tokenizer/tokenizer.h"
#include "model/detector.h"

namespace muster::trainer {

// What `predict`, `eval` and others open: the checkpoint, as a user names it, in evaluation mode.
struct OpenedCheckpoint {
  // Verifies what the model is read from and takes the device: the one it was trained on
  // when none is given; of several GPUs, the `local_rank`-th. Throws CheckpointError.
  explicit OpenedCheckpoint(const std::filesystem::path& named,
                            std::optional<configs::Device> device = {}, int local_rank = 0);

  std::filesystem::path folder;
  configs::Config config;  // as the run resolved it, with paths that point into the folder
  data::Tokenizer tokenizer;
  data::ClassMap classes;
  model::Detector detector;
  data::SampleEncoder encoder;  // refers to `tokenizer`
};

}  // namespace muster::trainer
