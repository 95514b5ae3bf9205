#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace muster::data {

// A byte-level tokenizer.json in the published format: 256 bytes, merges for the demo's words,
// Qwen's special tokens by name (ids follow the vocabulary). Returns special token -> id.
std::map<std::string, std::int64_t> write_synth_tokenizer(const std::filesystem::path& dir);

}  // namespace muster::data
