// The Qwen tokenizer: byte-level BPE read from a Hugging Face tokenizer.json (NFC, the pre-tokenizer's own regular
// expression, merges, added tokens), exact against `tokenizers`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster::data {

class Tokenizer {
 public:
  // `path`: a folder with tokenizer.json, or the file. Throws DataError.
  explicit Tokenizer(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  // Added (special) tokens inside the text are recognised, as `tokenizers` does. Thread-safe.
  std::vector<std::int64_t> encode(std::string_view text) const;
  // User text: throws DataError naming `where` when the text contains an added token (FAILURES D-009).
  std::vector<std::int64_t> encode_user_text(std::string_view text, std::string_view where) const;
  std::string decode(std::span<const std::int64_t> ids, bool skip_special = true) const;

  std::optional<std::int64_t> token_id(std::string_view token) const;   // added tokens and vocabulary entries
  std::int64_t size() const;                                            // largest id + 1

  // Throws ConfigError listing every token whose id is not the expected one: token, expected, found (law 2).
  void assert_tokens(const std::map<std::string, std::int64_t>& expected) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::data
