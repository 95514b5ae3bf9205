// Folders that are given as a model and hold something else: what it is, and what to do.
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace muster::model {

// One sentence about what the folder holds instead of safetensors and a config.json: a LoRA adapter
// (diary row L-108), pickled weights, GGUF, a DeepSpeed checkpoint, a cache entry. "" when nothing
// is recognised.
std::string foreign_model(const std::filesystem::path& folder);

// "; TEXT", or "" for no text.
std::string with_semicolon(const std::string& text);

// What to do about quantised weights (diary row L-109). `method`: "fp8", "awq", "gptq", ...
std::string quantised_advice(const std::string& method);

// The method that packed weights under these names, "" when none did.
std::string quantisation_of(std::span<const std::string> names);

// The base model that an adapter_config.json names, "an unnamed model" when it names none.
std::string adapter_base(const std::filesystem::path& folder);

}  // namespace muster::model
