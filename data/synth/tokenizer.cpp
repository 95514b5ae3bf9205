// A small byte-level BPE in the published tokenizer.json form: every byte, the demo's words, Qwen's
// special tokens.
#include "data/synth/tokenizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/utf8.h"

namespace muster::data {
namespace {

using Json = nlohmann::ordered_json;

// Pieces of text that become one token each, as the pre-tokenizer cuts them. Order is rank: append
// only, ids are stable.
const std::vector<std::string> kWords{
    "red",      "green",      "blue",   " ellipse", " rectangle", " red",     " green",  " blue",
    "ellipse",  "rectangle",  "system", "user",     "assistant",  "You",      " are",    " a",
    " helpful", " assistant", "\n\n",   "```",      "json",       "[\n",      "{\"",     "bbox",
    "\":",      " [",         "],",     " \"",      "label",      "\"},\n",   "\"}\n",   "]\n",
    "[]\n",     "Detect",     " all",   " shapes",  " objects",   " and",     " their",  " in",
    " the",     " image",     " as",    " JSON",    "List",       "Describe", " every",  " shape",
    " object",  " with",      " its",   " box",     " boxes",     " label",   " labels", " color",
    " of"};

struct Special {
  const char* content;
  bool special;  // left out when decoding
};
constexpr std::array<Special, 22> kSpecials{
    {{"<|endoftext|>", true},        {"<|im_start|>", true},       {"<|im_end|>", true},
     {"<|object_ref_start|>", true}, {"<|object_ref_end|>", true}, {"<|box_start|>", true},
     {"<|box_end|>", true},          {"<|quad_start|>", true},     {"<|quad_end|>", true},
     {"<|vision_start|>", true},     {"<|vision_end|>", true},     {"<|vision_pad|>", true},
     {"<|image_pad|>", true},        {"<|video_pad|>", true},      {"<tool_call>", false},
     {"</tool_call>", false},        {"<|fim_prefix|>", false},    {"<|fim_middle|>", false},
     {"<|fim_suffix|>", false},      {"<|fim_pad|>", false},       {"<|repo_name|>", false},
     {"<|file_sep|>", false}}};

// GPT-2's printable character for each byte: itself where it prints, else U+0100 and up in byte
// order.
bool prints(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

class BpeBuilder {
 public:
  BpeBuilder() {
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte)
      symbol_[byte] = encode_utf8(static_cast<char32_t>(prints(byte) ? byte : next++));
    for (int byte = 0; byte < 256; ++byte)
      if (prints(byte)) token(symbol_[byte]);
    for (int byte = 0; byte < 256; ++byte)
      if (!prints(byte)) token(symbol_[byte]);
  }

  // Adds the merges that make `word` one token. Merges of earlier words have lower ranks and are
  // applied first, as an encoder would, so no word added before changes.
  void add_word(const std::string& word) {
    std::vector<std::string> pieces;
    for (const char c : word) pieces.push_back(symbol_[static_cast<unsigned char>(c)]);
    while (merge_best(pieces)) {
    }
    while (pieces.size() > 1) {
      ranks_.emplace(std::pair(pieces[0], pieces[1]), static_cast<int>(merges_.size()));
      merges_.push_back({pieces[0], pieces[1]});
      token(pieces[0] + pieces[1]);
      merge_best(pieces);
    }
  }

  std::int64_t size() const { return static_cast<std::int64_t>(vocab_.size()); }
  Json model() const {
    Json vocab = Json::object();
    for (std::size_t id = 0; id < vocab_.size(); ++id) vocab[vocab_[id]] = id;
    return {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merges_}};
  }

 private:
  void token(const std::string& text) {
    if (std::find(vocab_.begin(), vocab_.end(), text) == vocab_.end()) vocab_.push_back(text);
  }

  bool merge_best(std::vector<std::string>& pieces) const {
    int best = std::numeric_limits<int>::max();
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto rank = ranks_.find({pieces[i], pieces[i + 1]});
      if (rank == ranks_.end() || rank->second >= best) continue;
      best = rank->second;
      at = i;
    }
    if (best == std::numeric_limits<int>::max()) return false;
    pieces[at] += pieces[at + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    return true;
  }

  std::array<std::string, 256> symbol_;
  std::vector<std::string> vocab_;
  std::vector<std::array<std::string, 2>> merges_;
  std::map<std::pair<std::string, std::string>, int> ranks_;
};

// The published pre-tokenizer of the Qwen2.5 family.
Json pre_tokenizer() {
  const Json pattern{
      {"Regex",
       R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}};
  const Json split{
      {"type", "Split"}, {"pattern", pattern}, {"behavior", "Isolated"}, {"invert", false}};
  const Json bytes{{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, bytes})}};
}

}  // namespace

std::map<std::string, std::int64_t> write_synth_tokenizer(const fs::path& dir) {
  BpeBuilder bpe;
  for (const std::string& word : kWords) bpe.add_word(word);
  std::map<std::string, std::int64_t> ids;
  Json added = Json::array();
  for (const auto& [content, special] : kSpecials) {
    const std::int64_t id = bpe.size() + static_cast<std::int64_t>(ids.size());
    ids[content] = id;
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  }
  const Json decoder{{"type", "ByteLevel"},
                     {"add_prefix_space", true},
                     {"trim_offsets", true},
                     {"use_regex", true}};
  const Json normalizer{{"type", "NFC"}};
  const Json tokenizer{
      {"version", "1.0"},          {"truncation", nullptr},    {"padding", nullptr},
      {"added_tokens", added},     {"normalizer", normalizer}, {"pre_tokenizer", pre_tokenizer()},
      {"post_processor", nullptr}, {"decoder", decoder},       {"model", bpe.model()}};
  const Json config{{"tokenizer_class", "Qwen2TokenizerFast"},
                    {"model_max_length", 131072},
                    {"eos_token", "<|im_end|>"},
                    {"pad_token", "<|endoftext|>"},
                    {"bos_token", nullptr},
                    {"unk_token", nullptr},
                    {"add_prefix_space", false},
                    {"clean_up_tokenization_spaces", false},
                    {"errors", "replace"},
                    {"split_special_tokens", false}};
  write_text(dir / "tokenizer.json", tokenizer.dump());
  write_text(dir / "tokenizer_config.json", config.dump(2) + "\n");
  return ids;
}

}  // namespace muster::data
