#include "data/tokenizer/file.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/utf8.h"
#include "data/tokenizer/tables.h"

namespace muster::data {
namespace {

using nlohmann::json;

// The table's characters are below U+0144: 188 printable bytes stand for themselves, the others, in
// order, for U+0100 on.
constexpr std::size_t kSpellings = 0x144;

std::array<int, kSpellings> byte_of_spelling() {
  std::array<int, kSpellings> table{};
  table.fill(-1);
  std::size_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    table[printable ? static_cast<std::size_t>(byte) : next++] = byte;
  }
  return table;
}

[[noreturn]] void refuse(const std::string& what) {
  throw DataError(what + "; only byte-level BPE files as Qwen publishes them are read");
}

// `object[key]` must be one of `allowed` (an absent key counts as null).
void expect(const json& object, const char* key, std::initializer_list<json> allowed) {
  const json value = object.value(key, json());
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    refuse(fmt::format("\"{}\" is {}", key, value.dump().substr(0, 200)));
  }
}

bool read_normalizer(const json& file) {
  json normalizer = file.value("normalizer", json());
  if (normalizer.is_object() && normalizer.value("type", "") == "Sequence") {
    const json parts = normalizer.at("normalizers");
    if (parts.size() > 1) refuse("\"normalizer\" is a sequence of several");
    normalizer = parts.empty() ? json() : parts.front();
  }
  if (normalizer.is_null()) return false;
  expect(normalizer, "type", {"NFC"});
  return true;
}

std::string read_split_regex(const json& file) {
  const json pre = file.value("pre_tokenizer", json());
  if (!pre.is_object() || pre.value("type", "") != "Sequence" ||
      pre.at("pretokenizers").size() != 2) {
    refuse("\"pre_tokenizer\" is not a sequence of Split and ByteLevel");
  }
  const json &split = pre.at("pretokenizers")[0], &bytes = pre.at("pretokenizers")[1];
  expect(split, "type", {"Split"});
  expect(split, "behavior", {"Isolated"});
  expect(split, "invert", {false});
  expect(bytes, "type", {"ByteLevel"});
  expect(bytes, "add_prefix_space", {false});
  expect(bytes, "use_regex", {false});
  if (!split.at("pattern").contains("Regex")) refuse("the Split's pattern is not a \"Regex\"");
  return split.at("pattern").at("Regex").get<std::string>();
}

// A template that puts nothing around its text, [{"Sequence": ...}] for "single".
bool is_plain_template(const json& post) {
  const json single = post.value("single", json());
  const auto is_text = [](const json& part) { return part.contains("Sequence"); };
  return single.is_array() && std::all_of(single.begin(), single.end(), is_text);
}

// Post-processors that add no token are passed over.
void check_post_processor(const json& post) {
  if (post.is_null()) return;
  const std::string type = post.value("type", "");
  if (type == "Sequence") {
    for (const json& part : post.value("processors", json::array())) check_post_processor(part);
    return;
  }
  if (type == "ByteLevel" || (type == "TemplateProcessing" && is_plain_template(post))) return;
  refuse(fmt::format("\"post_processor\" adds tokens: {}", post.dump().substr(0, 200)));
}

// Settings that would change ids if they were anything else. A saved padding or truncation would
// not: transformers turns both off unless the caller asks for them.
void check_settings(const json& file) {
  check_post_processor(file.value("post_processor", json()));
  expect(file.at("decoder"), "type", {"ByteLevel"});
  const json& model = file.at("model");
  expect(model, "type", {"BPE"});
  expect(model, "dropout", {nullptr, 0.0});
  expect(model, "unk_token", {nullptr});
  expect(model, "continuing_subword_prefix", {nullptr, ""});
  expect(model, "end_of_word_suffix", {nullptr, ""});
  expect(model, "byte_fallback", {nullptr, false});
  expect(model, "ignore_merges", {nullptr, false});
}

std::string to_bytes(const std::string& spelled) {
  auto bytes = spelled_to_bytes(spelled);
  if (!bytes) refuse(fmt::format("\"{}\" is not spelled in the byte-level alphabet", spelled));
  return *std::move(bytes);
}

std::vector<std::string> place_by_id(
    const std::vector<std::pair<std::string, std::int64_t>>& vocabulary) {
  // Ids count the entries, but for a few gaps: what is far above them would only cost memory.
  constexpr std::int64_t kGaps = 1 << 16;
  const std::int64_t most = 2 * static_cast<std::int64_t>(vocabulary.size()) + kGaps;
  std::vector<std::string> tokens(vocabulary.size());
  for (const auto& [spelled, id] : vocabulary) {
    if (id < 0 || id > most)
      refuse(fmt::format("\"{}\" has id {} in a vocabulary of {}", spelled, id, vocabulary.size()));
    const auto index = static_cast<std::size_t>(id);
    if (index >= tokens.size()) tokens.resize(index + index / 2 + 1);
    if (!tokens[index].empty())
      refuse(fmt::format("id {} is given twice, once to \"{}\"", id, spelled));
    tokens[index] = to_bytes(spelled);
  }
  while (!tokens.empty() && tokens.back().empty()) tokens.pop_back();
  return tokens;
}

std::vector<AddedToken> read_added_tokens(const json& list) {
  constexpr std::int64_t kMaxAddedId = 1 << 24;  // far above any vocabulary's
  std::vector<AddedToken> added;
  for (const json& token : list) {
    for (const char* key : {"single_word", "lstrip", "rstrip"})
      expect(token, key, {nullptr, false});
    AddedToken read{token.at("content").get<std::string>(), token.at("id").get<std::int64_t>(),
                    token.value("special", false), token.value("normalized", true)};
    if (read.content.empty() || read.id < 0 || read.id > kMaxAddedId)
      refuse(fmt::format("added token \"{}\" has id {}", read.content, read.id));
    added.push_back(std::move(read));
  }
  return added;
}

// The expression of transformers' Qwen2Tokenizer, which the pair of files does not name.
constexpr const char* kQwenRegex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::vector<std::pair<std::string, std::string>> to_byte_pairs(
    std::vector<std::pair<std::string, std::string>> merges) {
  for (auto& [left, right] : merges) {
    left = to_bytes(left);
    right = to_bytes(right);
  }
  return merges;
}

std::string file_text(const std::filesystem::path& path) {
  std::string text = read_text(path);
  if (is_lfs_pointer(text)) throw DataError(path.filename().string() + ": " + kLfsAdvice);
  return text;
}

// tokenizer_config.json lists all that was added, with how each is looked for.
std::vector<AddedToken> added_by_config(const json& decoder) {
  json list = json::array();
  for (const auto& [id, token] : decoder.items()) {
    json entry = token;
    entry["id"] = std::stoll(id);
    list.push_back(std::move(entry));
  }
  return read_added_tokens(list);
}

// added_tokens.json says ids alone: Qwen's added tokens are control, but for the tags of tools and
// thoughts.
std::vector<AddedToken> added_by_ids(const json& ids) {
  std::vector<AddedToken> added;
  for (const auto& [content, id] : ids.items())
    added.push_back({content, id.get<std::int64_t>(), content.starts_with("<|"), false});
  return added;
}

std::vector<AddedToken> added_tokens_beside(const std::filesystem::path& folder) {
  const auto settings = folder / "tokenizer_config.json", ids = folder / "added_tokens.json";
  if (std::filesystem::exists(settings)) {
    const json file = parse_json(file_text(settings));
    if (file.contains("added_tokens_decoder"))
      return added_by_config(file.at("added_tokens_decoder"));
  }
  if (std::filesystem::exists(ids)) return added_by_ids(parse_json(file_text(ids)));
  refuse(
      "vocab.json and merges.txt lack the added tokens: neither tokenizer_config.json's "
      "added_tokens_decoder nor added_tokens.json is beside them");
}

TokenizerFile read_whole(const std::filesystem::path& path) {
  const MappedFile mapped(path);
  const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()),
                              mapped.bytes().size());
  if (is_lfs_pointer(text)) throw DataError(kLfsAdvice);
  const json settings = read_tokenizer_settings(text);
  check_settings(settings);
  TokenizerTables tables = read_tokenizer_tables(text);
  return {place_by_id(tables.vocabulary), to_byte_pairs(std::move(tables.merges)),
          read_added_tokens(settings.value("added_tokens", json::array())),
          read_normalizer(settings), read_split_regex(settings)};
}

TokenizerFile read_pair(const std::filesystem::path& folder) {
  TokenizerTables tables = read_vocabulary_and_merges(file_text(folder / "vocab.json"),
                                                      file_text(folder / "merges.txt"));
  return {place_by_id(tables.vocabulary), to_byte_pairs(std::move(tables.merges)),
          added_tokens_beside(folder), /*nfc=*/true, kQwenRegex};
}

bool has_pair(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "vocab.json") &&
         std::filesystem::exists(folder / "merges.txt");
}

}  // namespace

std::optional<std::string> spelled_to_bytes(std::string_view spelled) {
  static const std::array<int, kSpellings> kTable = byte_of_spelling();
  std::string bytes;
  while (!spelled.empty()) {
    const CodePoint point = first_code_point(spelled);
    if (!point.valid || point.value >= kSpellings || kTable[point.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kTable[point.value]));
    spelled.remove_prefix(point.bytes);
  }
  return bytes;
}

TokenizerFile read_tokenizer_file(const std::filesystem::path& path) {
  const bool folder = std::filesystem::is_directory(path);
  const auto file = folder ? path / "tokenizer.json" : path;
  try {
    if (folder && !std::filesystem::exists(file) && has_pair(path)) return read_pair(path);
    if (folder && !std::filesystem::exists(file))
      throw DataError("neither tokenizer.json nor vocab.json with merges.txt is there");
    return read_whole(file);
  } catch (const json::exception& error) {
    throw DataError(fmt::format("cannot read tokenizer {}: {}", path.string(), json_fault(error)));
  } catch (const Error& error) {
    throw DataError(fmt::format("cannot read tokenizer {}: {}", path.string(), error.what()));
  }
}

}  // namespace muster::data
