#include "model/files/portable_config.h"

#include "model/files/class_defaults.h"
#include "model/files/family.h"

namespace muster::model {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char *kText = "text_config", *kVision = "vision_config";

bool is_section(const OrderedJson& file, const char* name) {
  return file.contains(name) && file[name].is_object();
}

// What the file leaves out, its class would fill in; another version's class fills in otherwise.
void fill_defaults(OrderedJson& section, const nlohmann::json& defaults) {
  for (const auto& [key, value] : defaults.items())
    if (!section.contains(key) || section[key].is_null()) section[key] = value;
}

// The words of the text win: they are what a nested file was read by. Each section has its own
// model_type, and one dtype holds for all.
void flatten_text(OrderedJson& file) {
  if (!is_section(file, kText)) return;
  OrderedJson text = file[kText];
  for (const char* key : {"model_type", "dtype", "torch_dtype"}) text.erase(key);
  file.update(text);
  file.erase(kText);
  if (is_section(file, kVision)) file[kVision].erase("model_type");
}

// A size may stand in the file as a list of equal numbers, or under an older name.
void complete_vision(OrderedJson& vision, const VisionConfig& config,
                     const ClassDefaults& defaults) {
  fill_defaults(vision, defaults.vision);
  vision["in_channels"] = config.in_channels;
  vision["patch_size"] = config.patch_size;
  vision["temporal_patch_size"] = config.temporal_patch_size;
}

// "mrope" is the name that was published; each version makes it its own.
OrderedJson rope_scaling(const TextConfig& config, bool interleaved) {
  OrderedJson rope{{"mrope_section", config.mrope_section}};
  if (interleaved)
    rope.update({{"mrope_interleaved", true}, {"rope_type", "default"}});
  else
    rope["type"] = "mrope";
  return rope;
}

void complete_text(OrderedJson& text, const TextConfig& config, const ClassDefaults& defaults,
                   bool interleaved) {
  fill_defaults(text, defaults.text);
  text["num_key_value_heads"] = config.num_kv_heads;  // null stands for num_attention_heads
  text["tie_word_embeddings"] = config.tie_word_embeddings;
  text["rope_theta"] = config.rope_theta;
  text["rope_scaling"] = rope_scaling(config, interleaved);
  text.erase("rope_parameters");
}

// Loading takes the dtype of any section that names one.
void write_dtype(OrderedJson& file, const std::string& dtype) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    file[key] = dtype;
    for (const char* section : {kText, kVision})
      if (is_section(file, section) && file[section].contains(key)) file[section][key] = dtype;
  }
}

}  // namespace

OrderedJson portable_config(OrderedJson file, const QwenConfig& config, const std::string& dtype) {
  const Family& family = family_of(config.model_type);
  const ClassDefaults& defaults = class_defaults(config.model_type);
  if (family.flat_config) flatten_text(file);
  complete_vision(file[kVision], config.vision, defaults);
  complete_text(family.flat_config ? file : file[kText], config.text, defaults,
                family.text.interleaved_mrope);
  fill_defaults(file, defaults.root);
  file["tie_word_embeddings"] = config.text.tie_word_embeddings;
  write_dtype(file, dtype);
  return file;
}

}  // namespace muster::model
