// All parameters of the model in forward order, and nothing else. Built of shape-only tensors that
// loading or random initialisation replaces.
#pragma once

#include "model/files/family.h"
#include "model/qwen/language_model.h"
#include "model/qwen/vision_tower.h"

namespace muster::model {

struct QwenNet {
  VisionTower vision;
  LanguageModel language;
  Linear lm_head;  // when tied: the embedding's tensor, not visited
  bool tied;

  explicit QwenNet(const QwenConfig& config)
      : vision(config.vision, family_of(config.model_type).vision),
        language(config.text, family_of(config.model_type).text),
        lm_head(config.text.hidden_size, config.text.vocab_size, false, at::kMeta),
        tied(config.text.tie_word_embeddings) {}

  void visit(const ParamVisitor& visitor) {
    vision.visit("visual.", visitor);
    language.visit("model.", visitor);
    if (!tied) lm_head.visit("lm_head.", visitor);
  }
};

}  // namespace muster::model
