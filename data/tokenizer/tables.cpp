#include "data/tokenizer/tables.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace muster::data {
namespace {

using nlohmann::json;

// Follows the document by its depth; a value belongs to a table by the keys of depth 1 ("model")
// and 2.
class TableReader : public nlohmann::json_sax<json> {
 public:
  TokenizerTables take() { return std::move(tables_); }

  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool number_integer(number_integer_t value) override { return number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return number(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t, const string_t&) override { return other(); }
  bool binary(binary_t&) override { return other(); }

  bool string(string_t& value) override {
    if (table_ != Table::kMerges) return other();
    if (depth_ == kTableDepth + 1) {
      pair_.push_back(std::move(value));
      return true;
    }
    const std::size_t space = value.find(' ');
    if (space == std::string::npos) bad_merge();
    tables_.merges.emplace_back(value.substr(0, space), value.substr(space + 1));
    return true;
  }

  bool key(string_t& value) override {
    if (depth_ == 1) in_model_ = value == "model";
    if (depth_ == 2 && in_model_) next_ = table_called(value);
    if (table_ == Table::kVocabulary && depth_ == kTableDepth) key_ = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override { return open(Table::kVocabulary); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Table::kMerges); }
  bool end_array() override {
    if (table_ == Table::kMerges && depth_ == kTableDepth + 1) {
      if (pair_.size() != 2) bad_merge();
      tables_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      pair_.clear();
    }
    return close();
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    throw DataError(json_fault(error));
  }

 private:
  enum class Table { kNone, kVocabulary, kMerges };
  static constexpr int kTableDepth = 3;  // inside the document, "model", the table

  static Table table_called(const std::string& key) {
    if (key == "vocab") return Table::kVocabulary;
    return key == "merges" ? Table::kMerges : Table::kNone;
  }

  bool open(Table kind) {
    ++depth_;
    if (depth_ == kTableDepth && next_ == kind) {
      table_ = kind;
    } else if (table_ == Table::kVocabulary ||
               (table_ == Table::kMerges && depth_ > kTableDepth + 1)) {
      return other();
    }
    next_ = Table::kNone;
    return true;
  }

  bool close() {
    if (depth_-- == kTableDepth) table_ = Table::kNone;
    return true;
  }

  bool number(std::int64_t value) {
    if (table_ != Table::kVocabulary) return other();
    tables_.vocabulary.emplace_back(std::move(key_), value);
    return true;
  }

  // Judges a value that is no entry of a table.
  bool other() {
    if (table_ == Table::kVocabulary)
      throw DataError(fmt::format("the id of \"{}\" is not an integer", key_));
    if (table_ == Table::kMerges) bad_merge();
    return true;
  }

  [[noreturn]] void bad_merge() const {
    throw DataError(fmt::format("merge {} is not a pair", tables_.merges.size()));
  }

  TokenizerTables tables_;
  std::vector<std::string> pair_;
  std::string key_;
  Table table_ = Table::kNone,
        next_ = Table::kNone;  // the one being read; the one the last key announced
  int depth_ = 0;
  bool in_model_ = false;
};

}  // namespace

TokenizerTables read_tokenizer_tables(std::string_view text) {
  TableReader reader;
  scan_json(text, reader);
  return reader.take();
}

TokenizerTables read_vocabulary_and_merges(std::string_view vocabulary, std::string_view merges) {
  TokenizerTables tables;
  const auto ids = parse_json(vocabulary);
  if (!ids.is_object()) throw DataError("vocab.json is not an object of ids");
  for (const auto& [spelled, id] : ids.items())
    tables.vocabulary.emplace_back(spelled, id.get<std::int64_t>());
  for (std::size_t begin = 0; begin < merges.size();) {
    const std::size_t end = std::min(merges.find('\n', begin), merges.size());
    std::string_view line = merges.substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool comment = begin == 0 && line.starts_with("#version");
    begin = end + 1;
    if (line.empty() || comment) continue;
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos)
      throw DataError(fmt::format("merges.txt: \"{}\" is not two parts", line));
    tables.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return tables;
}

json read_tokenizer_settings(std::string_view text) {
  return parse_json(text, [](int depth, json::parse_event_t event, json& value) {
    return !(event == json::parse_event_t::key && depth == 2 &&
             (value == "vocab" || value == "merges"));
  });
}

}  // namespace muster::data
