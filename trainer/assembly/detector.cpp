#include "trainer/assembly/detector.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "model/adapters/peft_folder.h"
#include "model/files/config.h"
#include "model/head/files.h"
#include "trainer/assembly/captions.h"
#include "trainer/assembly/finite_weights.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/lora_run.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {
namespace {

model::HeadConfig head_of(const configs::Detection& detection, const data::Tokenizer& tokenizer,
                          const data::ClassMap& classes,
                          const std::vector<std::int64_t>& caption_words) {
  model::HeadConfig head = head_config(detection);
  if (detection.labels == configs::Labels::kOpen) {
    head.caption_tokens = caption_words;
    return head;
  }
  if (classes.size() == 0)
    throw ConfigError("detection.labels: closed needs classes, and data.train has none");
  for (std::int64_t i = 0; i < classes.size(); ++i) {
    const std::string& name = classes.category(i).name;
    head.classes.push_back(tokenizer.encode_user_text(name, "class " + name));
  }
  return head;
}

// The weights that the user gives are data: with wrong ones no other attempt can do better.
model::QwenVL load_given(const fs::path& path, const model::QwenOptions& options) {
  try {
    return model::QwenVL::load(path, options);
  } catch (const CheckpointError& error) {
    throw DataError(fmt::format("model.path: {}", error.what()));
  }
}

void start_from_adapter(const configs::Config& config, model::Detector& detector) {
  const fs::path folder = config.model.adapter;
  require_same_adapters(folder, lora_setup(config, detector.backbone().config()));
  model::load_adapter(folder, detector.parameters());
  log::info("adapters start from {}", folder.string());
  if (fs::exists(folder / kHeadFile))
    log::warn("{} has a detection head, too: model.adapter takes the adapters alone",
              folder.string());
}

}  // namespace

model::Detector build_detector(const configs::Config& config, const data::Tokenizer& tokenizer,
                               const data::ClassMap& classes,
                               const std::vector<std::int64_t>& caption_words) {
  const fs::path path = find_model(config.model);
  const auto seed = static_cast<std::uint64_t>(config.run.seed);
  model::QwenOptions options = qwen_options(config);
  if (config.lora.enabled)
    options.lora = lora_setup(config, model::read_config(path)).options(seed);
  const auto backbone = [&] {
    if (!config.model.random_init) return load_given(path, options);
    log::info("random initialisation of every weight (model.random_init), sizes from {}",
              path.string());
    return model::QwenVL::random(model::read_config(path), options, seed);
  };
  model::Detector detector = model::Detector::create(
      backbone(), head_of(config.detection, tokenizer, classes, caption_words),
      caption_end_token(tokenizer), seed);
  if (!config.model.adapter.empty()) start_from_adapter(config, detector);
  if (!config.model.random_init)
    require_finite(detector.parameters(), fmt::format("model.path: {}", path.string()));
  return detector;
}

model::QwenVL load_backbone(const fs::path& folder, model::QwenOptions options) {
  if (!model::is_adapter_folder(folder)) return model::QwenVL::load(folder, options);
  const BaseModel base = find_base(folder);
  // Adapters are read into their places; what stands there first means nothing.
  options.lora = model::read_adapter(folder).setup.options(/*seed=*/0);
  model::QwenVL backbone =
      base.seed ? model::QwenVL::random(model::read_config(base.path), options, *base.seed)
                : model::QwenVL::load(base.path, options);
  model::load_adapter(folder, backbone.parameters());
  return backbone;
}

model::Detector load_detector(const configs::Config& config, const fs::path& checkpoint,
                              const data::Tokenizer& tokenizer) {
  if (!fs::exists(checkpoint / kHeadFile)) {
    throw CheckpointError(
        fmt::format("{}: no {}; this folder holds a language model but no trained detector",
                    checkpoint.string(), kHeadFile));
  }
  const model::HeadConfig head = model::read_head_config(checkpoint / kHeadFile);
  model::QwenOptions options = qwen_options(config);
  options.keep_patches = head.use_patches;
  model::Detector detector = model::Detector::create(load_backbone(checkpoint, options), head,
                                                     caption_end_token(tokenizer),
                                                     static_cast<std::uint64_t>(config.run.seed));
  detector.load_head(checkpoint / kHeadFile);
  return detector;
}

}  // namespace muster::trainer
