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
  const json normalizer = file.value("normalizer", json());
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

// Settings that would change ids if they were anything else.
void check_settings(const json& file) {
  expect(file, "truncation", {nullptr});
  expect(file, "padding", {nullptr});
  if (const json post = file.value("post_processor", json()); !post.is_null())
    expect(post, "type", {"ByteLevel"});
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
  std::vector<AddedToken> added;
  for (const json& token : list) {
    for (const char* key : {"single_word", "lstrip", "rstrip"})
      expect(token, key, {nullptr, false});
    AddedToken read{token.at("content").get<std::string>(), token.at("id").get<std::int64_t>(),
                    token.value("special", false), token.value("normalized", true)};
    if (read.content.empty() || read.id < 0)
      refuse(fmt::format("added token \"{}\" has id {}", read.content, read.id));
    added.push_back(std::move(read));
  }
  return added;
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
  try {
    const MappedFile mapped(path);
    const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()),
                                mapped.bytes().size());
    const json settings = read_tokenizer_settings(text);
    check_settings(settings);
    TokenizerTables tables = read_tokenizer_tables(text);
    for (auto& [left, right] : tables.merges) {
      left = to_bytes(left);
      right = to_bytes(right);
    }
    return {place_by_id(tables.vocabulary), std::move(tables.merges),
            read_added_tokens(settings.value("added_tokens", json::array())),
            read_normalizer(settings), read_split_regex(settings)};
  } catch (const json::exception& error) {
    throw DataError(fmt::format("cannot read tokenizer {}: {}", path.string(), json_fault(error)));
  } catch (const Error& error) {
    throw DataError(fmt::format("cannot read tokenizer {}: {}", path.string(), error.what()));
  }
}

}  // namespace muster::data
