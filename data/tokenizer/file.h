// Private to data/tokenizer: what a Hugging Face tokenizer.json of the Qwen form says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::data {

struct AddedToken {
  std::string content;
  std::int64_t id = 0;
  bool special = false;     // left out by decode
  bool normalized = false;  // looked for after normalisation instead of before
};

struct TokenizerFile {
  std::vector<std::string> tokens;                          // [id] -> bytes, "" for an unused id
  std::vector<std::pair<std::string, std::string>> merges;  // bytes, in order of rank
  std::vector<AddedToken> added;
  bool nfc = false;
  std::string split_regex;
};

// `path`: a tokenizer.json, or a folder with one or with vocab.json and merges.txt, whose added
// tokens are tokenizer_config.json's added_tokens_decoder or added_tokens.json. Throws DataError
// for anything `tokenizers` would do differently from what the fields above can say.
TokenizerFile read_tokenizer_file(const std::filesystem::path& path);

// Byte-level vocabularies spell each byte as one printable character (GPT-2's table). Back to
// bytes; empty when a character is not of the table.
std::optional<std::string> spelled_to_bytes(std::string_view spelled);

}  // namespace muster::data
