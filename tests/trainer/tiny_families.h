// The demo's model, as every member of the Qwen-VL family.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/process/atomic_file.h"
#include "trainer/tiny_run.h"

namespace muster::test {

// Writes config.json into `folder`.
inline void write_family_config(const std::string& model_type, const fs::path& folder) {
  auto json = nlohmann::json::parse(read_text(source_dir() / "configs/models/demo/config.json"));
  auto &vision = json["vision_config"], &text = json["text_config"];
  json["model_type"] = model_type;
  if (model_type != "qwen2_5_vl") {
    for (const char* key : {"window_size", "fullatt_block_indexes", "tokens_per_second"})
      vision.erase(key);
  }
  if (model_type == "qwen2_vl") {
    const auto width = vision["hidden_size"], out = vision["out_hidden_size"];
    for (const char* key : {"out_hidden_size", "intermediate_size"}) vision.erase(key);
    vision.update({{"embed_dim", width},
                   {"hidden_size", out},
                   {"mlp_ratio", 2},
                   {"hidden_act", "quick_gelu"}});
  }
  if (model_type == "qwen3_vl") {
    vision.update({{"patch_size", 16},
                   {"num_position_embeddings", 64},
                   {"deepstack_visual_indexes", {0, 1}},
                   {"hidden_act", "gelu_pytorch_tanh"}});
    text.update({{"head_dim", 32}, {"attention_bias", false}});
    text["rope_parameters"].update({{"mrope_section", {6, 5, 5}}, {"mrope_interleaved", true}});
  }
  for (auto* section : {&vision, &text}) section->erase("model_type");
  write_text(folder / "config.json", json.dump(1));
}

// Three steps of detection and text, with a checkpoint at the end.
inline configs::Config family_run(const fs::path& run_dir, const fs::path& model_dir) {
  return tiny_config(run_dir, {"model.path=" + model_dir.string(), "data.answer=labels",
                               "loss.lm=1", "schedule.max_steps=3", "schedule.warmup_steps=1",
                               "checkpoint.every_steps=3", "batch.micro_batches_per_step=2"});
}

}  // namespace muster::test
