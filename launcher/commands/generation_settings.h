// generation_config.json of a Hugging Face folder: what `generate` applies of it, and what it names
// as not applied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/qwen/sampling.h"

namespace muster::launcher {

// What the command line says; where it says nothing the file does.
struct GenerationFlags {
  model::Sampling sampling;  // temperature, top_p and seed
  std::optional<std::int64_t> top_k;
  std::optional<double> repetition_penalty;
  std::vector<std::string> stop;  // texts that end the answer
};

struct GenerationSettings {
  model::Sampling sampling;
  std::vector<std::int64_t> eos;  // token ids that end the answer
  std::vector<std::string> stop;
  std::string told;  // one line on what of the file holds and what does not; "" for nothing
};

// `file` need not be there. Applied of it are eos_token_id, repetition_penalty, top_k and
// stop_strings; temperature and top_p are the command line's alone. Throws CheckpointError for a
// file that is no JSON object or has a value of a wrong type.
GenerationSettings generation_settings(const std::filesystem::path& file,
                                       const GenerationFlags& flags);

}  // namespace muster::launcher
