#include "trainer/assembly/detector.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "model/files/config.h"
#include "model/head/files.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {
namespace {

// Captions end with the token that ends a turn.
std::int64_t caption_end_token(const data::Tokenizer& tokenizer) {
  const auto id = tokenizer.token_id("<|im_end|>");
  if (!id)
    throw ConfigError(
        "the tokenizer has no <|im_end|>, which ends captions: tokens.tokenizer is not Qwen's");
  return *id;
}

// The weights that the user gives are data: with wrong ones no other attempt can do better.
model::QwenVL load_backbone(const fs::path& path, const model::QwenOptions& options) {
  try {
    return model::QwenVL::load(path, options);
  } catch (const CheckpointError& error) {
    throw DataError(fmt::format("model.path: {}", error.what()));
  }
}

}  // namespace

model::Detector build_detector(const configs::Config& config, const data::Tokenizer& tokenizer) {
  const fs::path path = find_model(config.model);
  const auto seed = static_cast<std::uint64_t>(config.run.seed);
  const auto backbone = [&] {
    if (!config.model.random_init) return load_backbone(path, qwen_options(config));
    log::info("random initialisation of every weight (model.random_init), sizes from {}",
              path.string());
    return model::QwenVL::random(model::read_config(path), qwen_options(config), seed);
  };
  return model::Detector::create(backbone(), head_config(config.detection),
                                 caption_end_token(tokenizer), seed);
}

model::Detector load_detector(const configs::Config& config, const fs::path& checkpoint,
                              const data::Tokenizer& tokenizer) {
  if (!fs::exists(checkpoint / kHeadFile)) {
    throw CheckpointError(
        fmt::format("{}: no {}; this folder holds a language model but no trained detector",
                    checkpoint.string(), kHeadFile));
  }
  model::Detector detector = model::Detector::create(
      model::QwenVL::load(checkpoint, qwen_options(config)),
      model::read_head_config(checkpoint / kHeadFile), caption_end_token(tokenizer),
      static_cast<std::uint64_t>(config.run.seed));
  detector.load_head(checkpoint / kHeadFile);
  return detector;
}

}  // namespace muster::trainer
