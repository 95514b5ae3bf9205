// A tokenizer.json of the Qwen form, small enough to reason about, for tests of
// data/tokenizer/tokenizer.h and data/chat.h.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/files.h"
#include "base/process/atomic_file.h"

namespace muster::test {

// How byte-level vocabularies spell a byte: printable bytes as themselves, the others from U+0100
// on.
inline std::string spell_byte(int byte) {
  const auto printable = [](int b) { return (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD); };
  int point = byte;
  if (!printable(byte)) {
    point = 0x100;
    for (int b = 0; b < byte; ++b) point += !printable(b);
  }
  if (point < 0x80) return {static_cast<char>(point)};
  return {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F))};
}

inline std::string spell(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) out += spell_byte(static_cast<unsigned char>(c));
  return out;
}

// Ids 0..255 are the bytes by value, 256.. the merges "he" "ll" "hell" "hello" " w" "aa" "aaaa",
// 1000.. the added tokens.
inline nlohmann::json small_tokenizer() {
  using nlohmann::json;
  json vocab = json::object(), merges = json::array();
  for (int byte = 0; byte < 256; ++byte) vocab[spell_byte(byte)] = byte;
  const std::pair<const char*, const char*> pairs[] = {
      {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {" ", "w"}, {"a", "a"}, {"aa", "aa"}};
  for (const auto& [left, right] : pairs) {
    vocab[spell(left) + spell(right)] = 256 + merges.size();
    merges.push_back(spell(left) + " " + spell(right));
  }
  json added = json::array();
  const auto add = [&](int id, const char* content, bool special, bool normalized) {
    added.push_back({{"id", id},
                     {"content", content},
                     {"special", special},
                     {"normalized", normalized},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false}});
  };
  int id = 1000;
  for (const char* token :
       {"<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"}) {
    add(id++, token, true, false);
  }
  add(1005, "<tool>", false, false);
  add(1006, "<tool>er", false, false);
  add(1007, "caf\xC3\xA9", false, true);  // NFC
  const std::string regex = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                            R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const json split{{"type", "Split"},
                   {"pattern", {{"Regex", regex}}},
                   {"behavior", "Isolated"},
                   {"invert", false}};
  const json bytes{{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", json::array({split, bytes})}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

inline std::filesystem::path write_tokenizer(const TempDir& dir, const nlohmann::json& file) {
  write_text(dir.path() / "tokenizer.json", file.dump());
  return dir.path();
}

}  // namespace muster::test
