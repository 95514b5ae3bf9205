// The detector that a config asks for, made or loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "configs/config.h"
#include "data/pack/class_map.h"
#include "data/tokenizer/tokenizer.h"
#include "model/detector.h"
#include "model/qwen/qwen_options.h"

namespace muster::trainer {

// The detector a run starts from: random when the config says so (and the log then says "random
// initialisation"), else from the Hugging Face folder. Throws ConfigError, and
// DataError for weights that are not those of config.json.
// `classes`: of the training set; with detection.labels: closed they are what can be detected.
// `caption_words`: token ids that open captions can say, as check_captions() finds them in the
// training set; none: the whole vocabulary.
model::Detector build_detector(const configs::Config& config, const data::Tokenizer& tokenizer,
                               const data::ClassMap& classes,
                               const std::vector<std::int64_t>& caption_words = {});

// The language model of a checkpoint folder or a Hugging Face folder; of a folder of adapters the
// model they stand beside, with them. Throws CheckpointError.
model::QwenVL load_backbone(const std::filesystem::path& folder, model::QwenOptions options);

// A trained detector: weights and head as the checkpoint folder holds them. Throws CheckpointError.
model::Detector load_detector(const configs::Config& config,
                              const std::filesystem::path& checkpoint,
                              const data::Tokenizer& tokenizer);

}  // namespace muster::trainer
