// All parameters of the model in forward order, and nothing else. Built of shape-only tensors that
// loading or random initialisation replaces.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "model/files/family.h"
#include "model/qwen/language_model.h"
#include "model/qwen/vision_tower.h"

namespace muster::model {

struct QwenNet {
  VisionTower vision;
  LanguageModel language;
  Linear lm_head;  // when tied: the embedding's tensor, not visited
  bool tied;

  // With the adapters that `lora` names; of a name that no layer has nothing comes.
  explicit QwenNet(const QwenConfig& config, const std::optional<LoraOptions>& lora = {})
      : vision(config.vision, family_of(config.model_type).vision),
        language(config.text, family_of(config.model_type).text),
        lm_head(config.text.hidden_size, config.text.vocab_size, false, at::kMeta),
        tied(config.text.tie_word_embeddings) {
    if (!lora) return;
    const std::set<std::string> chosen(lora->layers.begin(), lora->layers.end());
    visit(ParamVisitor::layers([&](const std::string& name, Linear& layer) {
      if (chosen.contains(name))
        layer.lora.emplace(*lora, name, layer.weight.size(1), layer.weight.size(0));
    }));
  }

  void visit(const ParamVisitor& visitor) {
    vision.visit("visual.", visitor);
    language.visit("model.", visitor);
    if (!tied) lm_head.visit("lm_head.", visitor);
  }
};

}  // namespace muster::model
