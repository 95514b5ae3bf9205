// The config, translated into each room's own options, and the objects built from it. Shared by
// train and by the commands that look at a run or use its result.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/encoder.h"
#include "data/sampler.h"
#include "model/detector.h"
#include "model/head/files.h"
#include "sharding/engine.h"
#include "sharding/layout/param_registry.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {

at::ScalarType scalar_type(configs::Dtype dtype);
model::QwenOptions qwen_options(const configs::Config& config);
model::HeadConfig head_config(const configs::Detection& detection);
model::HeadLossOptions head_loss_options(const configs::Config& config);
// Throws ConfigError when the model folder's preprocessor_config.json has another image_mean or
// image_std.
data::EncodeOptions encode_options(const configs::Config& config, const model::QwenConfig& model);
data::SamplerOptions sampler_options(const configs::Config& config);
sharding::EngineOptions engine_options(const configs::Config& config);

// Law 3's prefixes, in matching order: merger, visual, detection_head, model, lm_head. A head that
// does not run is frozen.
std::vector<sharding::GroupRule> group_rules(const configs::Config& config);
std::vector<double> group_lrs(const configs::Groups& groups);  // in the same order

// Random when the config says so (and the log then says "random initialisation"), else from the
// Hugging Face folder.
model::Detector build_detector(const configs::Config& config, const data::Tokenizer& tokenizer);
// From a checkpoint folder: weights, head and tokenizer as saved there.
model::Detector load_detector(const configs::Config& config,
                              const std::filesystem::path& checkpoint,
                              const data::Tokenizer& tokenizer);

}  // namespace muster::trainer
