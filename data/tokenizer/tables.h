// Private to data/tokenizer: the two large tables of a tokenizer.json, read without building a
// document of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace muster::data {

struct TokenizerTables {
  std::vector<std::pair<std::string, std::int64_t>> vocabulary;  // spelling, id; in file order
  std::vector<std::pair<std::string, std::string>> merges;       // spellings; in order of rank
};

// Reads "vocab" and "merges" of "model" ("left right", or ["left", "right"] in newer files). Throws
// DataError or json::exception.
TokenizerTables read_tokenizer_tables(std::string_view text);

// Reads the older pair of files: vocab.json, and merges.txt with one merge a line after an optional
// "#version" line. Throws DataError or json::exception.
TokenizerTables read_vocabulary_and_merges(std::string_view vocabulary, std::string_view merges);

// Reads everything else and leaves both tables out.
nlohmann::json read_tokenizer_settings(std::string_view text);

}  // namespace muster::data
