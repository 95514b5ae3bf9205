// The config, translated into each room's own options. Train and the commands that look at a run or
// use its result share it.
#pragma once

#include "configs/config.h"
#include "data/augment/augmentation.h"
#include "data/encoder.h"
#include "data/loader.h"
#include "data/pack/cursor.h"
#include "data/sample_set.h"
#include "data/sampler.h"
#include "model/head/detection.h"
#include "model/qwen/qwen_vl.h"
#include "sharding/engine_options.h"

namespace muster::trainer {

at::ScalarType scalar_type(configs::Dtype dtype);
data::AnswerFormat answer_format(configs::Answer answer);
model::QwenOptions qwen_options(const configs::Config& config);
model::HeadConfig head_config(const configs::Detection& detection);
model::HeadLossOptions head_loss_options(const configs::Config& config);
// Throws ConfigError when the model folder's processor file has another image_mean, image_std or
// patch size.
data::EncodeOptions encode_options(const configs::Config& config, const model::QwenConfig& model);
data::AugmentOptions augment_options(const configs::Config& config);
// `caption_words`: token ids that open captions can say; 0: all of the vocabulary.
data::TokenCost token_cost(const configs::Config& config, const model::QwenConfig& model,
                           std::int64_t caption_words = 0);
data::FillLimits fill_limits(const configs::Config& config);
// Of an epoch over `set`, opened from data.train.
data::SamplerOptions sampler_options(const configs::Config& config, const model::QwenConfig& model,
                                     const data::SampleSet& set, std::int64_t caption_words);
// One rank of the world takes its share of the micro-batches from `start` on, which is the step
// number `step` of the run, from 0.
data::LoaderOptions loader_options(const configs::Config& config, int rank, int world_size,
                                   data::Cursor start, std::int64_t step);
sharding::EngineOptions engine_options(const configs::Config& config);

}  // namespace muster::trainer
