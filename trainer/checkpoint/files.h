// What the files of a checkpoint hold.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "configs/config.h"
#include "data/pack/pack.h"
#include "model/detector.h"
#include "sharding/engine.h"
#include "trainer/checkpoint/base_model.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster::trainer {

inline constexpr const char* kHeadFile = "detection_head.safetensors";

// Small files of a Hugging Face folder that training leaves as they are: tokenizer, preprocessor,
// generation settings.
const std::vector<std::string>& companion_files();

// Copies to host memory what must not change while it is written: this rank's optimizer shard and,
// on rank 0, every parameter, or of a LoRA run, whose `base` is given, adapters and head alone.
// REQUIRES all gathers awaited.
CheckpointStore::Job checkpoint_job(const configs::Config& config, const model::Detector& detector,
                                    const sharding::ZeroEngine& engine,
                                    const data::ClassMap& classes,
                                    const std::optional<BaseModel>& base);

// Copies the parameters of a checkpoint into the detector, in place: of a LoRA run's those of
// adapters and head. Strict.
void load_parameters(model::Detector& detector, const std::filesystem::path& checkpoint);

std::vector<std::filesystem::path> optimizer_files(
    const std::filesystem::path& checkpoint);  // sorted

}  // namespace muster::trainer
