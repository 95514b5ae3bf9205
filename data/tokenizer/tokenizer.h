// The Qwen tokenizer: byte-level BPE read from a Hugging Face tokenizer.json (NFC, the
// pre-tokenizer's own regular expression, merges, added tokens), exact against `tokenizers`.
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
  // `path`: a tokenizer.json, or a folder with it or with vocab.json and merges.txt. A padding or
  // truncation that was saved is not applied, as in transformers. Throws DataError.
  explicit Tokenizer(const std::filesystem::path& path);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  // Added (special) tokens inside the text are recognised, as `tokenizers` does. Thread-safe.
  // Throws DataError when the text is not UTF-8.
  std::vector<std::int64_t> encode(std::string_view text) const;
  // User text: throws DataError naming `where` when the text contains an added token (diary
  // row D-009).
  std::vector<std::int64_t> encode_user_text(std::string_view text, std::string_view where) const;
  // Ids that stand for nothing (the padding of the embedding table) are left out; what is not UTF-8
  // becomes U+FFFD.
  std::string decode(std::span<const std::int64_t> ids, bool skip_special = true) const;

  // Added tokens, and vocabulary entries as tokenizer.json spells them (a space is U+0120).
  std::optional<std::int64_t> token_id(std::string_view token) const;
  std::string_view token_bytes(
      std::int64_t id) const;  // what it stands for; empty for an unused id
  std::int64_t size() const;   // largest id + 1

  // Throws ConfigError listing every token whose id is not the expected one: token, expected, found
  // (law 2).
  void assert_tokens(const std::map<std::string, std::int64_t>& expected) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::data
