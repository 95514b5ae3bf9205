#include "data/sources/parse/json_text.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace muster::data {
namespace {

using nlohmann::json;

// Builds values from the parser's events and hands each on when it is complete.
class EntryBuilder : public json::json_sax_t {
 public:
  explicit EntryBuilder(const JsonEntry& entry) : entry_(entry) {}

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(json::object()); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    if (depth_ == 1 && top_is_object_) {
      top_key_ = std::move(value);
      return true;
    }
    keys_.back() = std::move(value);
    return true;
  }

  // The exception's own type says what to do with it.
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    if (const auto* syntax = dynamic_cast<const json::parse_error*>(&error)) throw *syntax;
    if (const auto* range = dynamic_cast<const json::out_of_range*>(&error)) throw *range;
    throw JsonError(error.what());
  }

 private:
  // The document itself and an array in it are not kept.
  bool hands_on() const { return depth_ == 1 || (depth_ == 2 && in_top_array_); }

  // A value is complete where it stands: in the value that is open, or as an entry.
  bool put(json value) {
    if (hands_on()) {
      entry_(top_key_, streamed_index(), std::move(value));
      return true;
    }
    if (depth_ == 0) throw DataError("a JSON list or object is expected");
    add(open_.back(), std::move(value));
    return true;
  }

  std::int64_t streamed_index() {
    const bool member = depth_ == 1 && top_is_object_;
    return member ? -1 : index_++;
  }

  void add(json& parent, json value) {
    if (parent.is_array())
      parent.push_back(std::move(value));
    else
      parent[keys_.back()] = std::move(value);
  }

  bool open(json value) {
    ++depth_;
    if (depth_ == 1) {
      top_is_object_ = value.is_object();
      return true;
    }
    if (depth_ == 2 && top_is_object_ && value.is_array()) {
      in_top_array_ = true;
      index_ = 0;
      return true;
    }
    open_.push_back(std::move(value));
    keys_.emplace_back();
    return true;
  }

  bool close() {
    --depth_;
    const bool streamed = depth_ == 0 || (depth_ == 1 && in_top_array_);
    if (streamed) {
      if (in_top_array_) entry_(top_key_, -1, json::array());
      in_top_array_ = false;
      return true;
    }
    json value = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    return put(std::move(value));
  }

  const JsonEntry& entry_;
  std::vector<json> open_;         // values that are being filled
  std::vector<std::string> keys_;  // the key that each of them fills next
  int depth_ = 0;                  // of what is open, streamed values included
  bool top_is_object_ = false;
  bool in_top_array_ = false;
  std::string top_key_;
  std::int64_t index_ = 0;
};

}  // namespace

void for_each_json_entry(std::string_view text, const JsonEntry& entry) {
  EntryBuilder builder(entry);
  scan_json(text, builder);
}

}  // namespace muster::data
