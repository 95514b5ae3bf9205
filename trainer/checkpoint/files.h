// What the files of a checkpoint hold.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/pack/pack.h"
#include "model/detector.h"
#include "sharding/engine.h"
#include "trainer/checkpoint/base_model.h"
#include "trainer/checkpoint/checkpoint.h"

namespace muster::trainer {

inline constexpr const char* kHeadFile = "detection_head.safetensors";
inline constexpr const char* kConfigFile = "config.yaml";  // as the run resolved it

// Small files of a Hugging Face folder that training leaves as they are: tokenizer, preprocessor,
// generation settings.
const std::vector<std::string>& companion_files();

// What follows a checkpoint: with kEnds nothing changes until it is written.
enum class Afterwards { kTrains, kEnds };

// What this rank writes: its optimizer shard and its share of the weights, whole tensors, in
// Hugging Face's sharded form; where the weights of all ranks fit no second rank, model.safetensors
// alone. Rank 0 writes the index and the small files as well. Of a LoRA run, whose `base` is given,
// rank 0 writes adapters and head in place of weights. The job's copy() must return before any
// parameter changes on any rank; with kEnds that must not happen before write() has returned, and
// little is copied. REQUIRES all gathers awaited; detector and engine outlive the job.
CheckpointStore::Job checkpoint_job(const configs::Config& config, const model::Detector& detector,
                                    const sharding::ZeroEngine& engine,
                                    const data::ClassMap& classes,
                                    const std::optional<BaseModel>& base, Afterwards afterwards);

// Copies the parameters of a checkpoint into the detector, in place: of a LoRA run's those of
// adapters and head. Strict: all must be there with their shapes, and the head must tell captions
// apart by the same words. Those of `mastered` that train are not read, since the engine's load()
// writes them from their masters: the same bits.
void load_parameters(model::Detector& detector, const std::filesystem::path& checkpoint,
                     const std::set<std::string>& mastered = {});

// Of every rank that wrote, sorted; as the manifest says, since a listing may be old.
std::vector<std::filesystem::path> optimizer_files(const std::filesystem::path& checkpoint,
                                                   const Manifest& manifest);

}  // namespace muster::trainer
