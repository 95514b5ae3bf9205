#include "model/files/foreign_model.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace muster::model {
namespace {

// Names of files directly in the folder, sorted.
std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

std::string first_with_suffix(const std::vector<std::string>& names, std::string_view suffix) {
  const auto found =
      std::ranges::find_if(names, [&](const std::string& name) { return name.ends_with(suffix); });
  return found == names.end() ? "" : *found;
}

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

// The Hugging Face cache keeps a model's files in snapshots/HASH.
std::string snapshot_in(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / "snapshots", error))
    if (fs::exists(entry.path() / "config.json")) return entry.path().string();
  return "";
}

std::string about_pickles(const fs::path& folder, const std::string& file) {
  return fmt::format(
      "the folder holds {}, a pickle, which is not read here; write safetensors with "
      "transformers: python -c \"from transformers import AutoModelForImageTextToText as M; "
      "M.from_pretrained('{}', torch_dtype='auto').save_pretrained('OUT')\"",
      file, folder.string());
}

struct PackedName {
  std::string_view part, method;
};

// What the packing libraries add beside, or instead of, the weights.
constexpr PackedName kPackedNames[] = {{".quant_state.", "bitsandbytes"},
                                       {".absmax", "bitsandbytes"},
                                       {".quant_map", "bitsandbytes"},
                                       {".SCB", "bitsandbytes"},
                                       {".weight_scale", "fp8"},
                                       {".input_scale", "fp8"},
                                       {".g_idx", "gptq"},
                                       {".qzeros", "awq"},
                                       {".qweight", "gptq or awq"},
                                       {".weight_packed", "compressed-tensors"}};

}  // namespace

std::string adapter_base(const fs::path& folder) {
  const auto json = parse_json_or_null(read_text(folder / "adapter_config.json"));
  const std::string base = json.is_object() && json.contains("base_model_name_or_path") &&
                                   json["base_model_name_or_path"].is_string()
                               ? json["base_model_name_or_path"].get<std::string>()
                               : "";
  return base.empty() ? "an unnamed model" : base;
}

std::string foreign_model(const fs::path& folder) {
  const std::vector<std::string> names = file_names(folder);
  if (has(names, "adapter_config.json"))
    return fmt::format(
        "the folder is a LoRA adapter of {}, not a model: set model.path to the folder of {} and "
        "model.adapter to this one",
        adapter_base(folder), adapter_base(folder));
  for (const char* pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (has(names, pickled)) return about_pickles(folder, pickled);
  for (const char* suffix : {".bin", ".pt", ".pth", ".ckpt"})
    if (const auto file = first_with_suffix(names, suffix); !file.empty() && !has(names, "latest"))
      return about_pickles(folder, file);
  if (has(names, "zero_to_fp32.py") || has(names, "latest"))
    return "the folder is a DeepSpeed checkpoint: write safetensors with its zero_to_fp32.py . OUT "
           "--safe_serialization, and put config.json beside them";
  if (const auto file = first_with_suffix(names, ".gguf"); !file.empty())
    return "the folder holds " + file +
           ", which is not read here: take the safetensors of the model";
  if (const auto snapshot = snapshot_in(folder); !snapshot.empty())
    return "the folder is an entry of the Hugging Face cache: give " + snapshot;
  return "";
}

std::string with_semicolon(const std::string& text) { return text.empty() ? "" : "; " + text; }

std::string quantised_advice(const std::string& method) {
  return fmt::format(
      "the weights are quantised ({}), which is not trained here (L-109); take the folder in bf16 "
      "that they were made from, or write one with transformers: "
      "M.from_pretrained(...).dequantize().save_pretrained('OUT')",
      method);
}

std::string quantisation_of(std::span<const std::string> names) {
  for (const PackedName& packed : kPackedNames)
    for (const std::string& name : names)
      if (name.find(packed.part) != std::string::npos) return std::string(packed.method);
  return "";
}

}  // namespace muster::model
