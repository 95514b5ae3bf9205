#include "data/sources/parse/literal.h"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace muster::data {
namespace {

using nlohmann::json;

constexpr int kMostNested = 64;

class LiteralReader {
 public:
  LiteralReader(std::string_view text, std::size_t at) : text_(text), at_(at) {}

  std::size_t at() const { return at_; }

  json value(int depth) {
    if (depth > kMostNested) fail("lists are nested too deep");
    skip_blanks();
    const char c = peek();
    if (c == '[') return list(']', depth);
    if (c == '(') return list(')', depth);
    if (c == '{') return object(depth);
    if (c == '"' || c == '\'') return string();
    if (c == '-' || c == '+' || c == '.' || (c >= '0' && c <= '9')) return number();
    return word();
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw DataError(fmt::format("character {}: {}", at_ + 1, why));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_blanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos)
      ++at_;
  }

  bool accept(char c) {
    skip_blanks();
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!accept(c))
      fail(at_ < text_.size() ? fmt::format("'{}' expected", c)
                              : fmt::format("the text ends where '{}' is expected", c));
  }

  json list(char end, int depth) {
    ++at_;
    json all = json::array();
    while (!accept(end)) {
      all.push_back(value(depth + 1));
      if (accept(',')) continue;
      expect(end);
      break;
    }
    return all;
  }

  json object(int depth) {
    ++at_;
    json all = json::object();
    while (!accept('}')) {
      const json key = value(depth + 1);
      expect(':');
      all[key.is_string() ? key.get<std::string>() : key.dump()] = value(depth + 1);
      if (accept(',')) continue;
      expect('}');
      break;
    }
    return all;
  }

  json number() {
    if (peek() == '+') ++at_;
    const char* first = text_.data() + at_;
    const char* last = text_.data() + text_.size();
    double parsed = 0;
    const auto [end, error] = std::from_chars(first, last, parsed);
    if (error != std::errc()) fail("a number expected");
    at_ += static_cast<std::size_t>(end - first);
    // A number that is written as an integer stays one.
    std::int64_t integer = 0;
    const auto [integer_end, integer_error] = std::from_chars(first, end, integer);
    if (integer_error == std::errc() && integer_end == end) return integer;
    return parsed;
  }

  json word() {
    const std::array<std::pair<std::string_view, json>, 7> words{
        {{"true", true},
         {"True", true},
         {"false", false},
         {"False", false},
         {"null", nullptr},
         {"None", nullptr},
         {"nan", std::numeric_limits<double>::quiet_NaN()}}};
    for (const auto& [name, meaning] : words) {
      if (!text_.substr(at_).starts_with(name)) continue;
      at_ += name.size();
      return meaning;
    }
    fail(at_ < text_.size() ? "a value expected" : "the text ends where a value is expected");
  }

  json string() {
    const char quote = text_[at_++];
    std::string all;
    while (true) {
      if (at_ >= text_.size()) fail("a text that is not closed");
      const char c = text_[at_++];
      if (c == quote) return all;
      if (c == '\\')
        escape(all);
      else
        all += c;
    }
  }

  void escape(std::string& all) {
    if (at_ >= text_.size()) fail("a text that is not closed");
    const char c = text_[at_++];
    constexpr std::string_view kNames = "ntrbf0";
    constexpr std::string_view kMeanings{"\n\t\r\b\f\0", 6};
    if (c == 'u') return unicode(all);
    if (c == 'x') {
      all += encode_utf8(hex(2));
      return;
    }
    const std::size_t at = kNames.find(c);
    all += at == std::string_view::npos ? c : kMeanings[at];
  }

  // Characters beyond the first plane are written as a pair of surrogates.
  void unicode(std::string& all) {
    char32_t code = hex(4);
    const bool high = code >= 0xd800 && code < 0xdc00;
    if (high && text_.substr(at_).starts_with("\\u")) {
      at_ += 2;
      const char32_t low = hex(4);
      if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    const std::string encoded = encode_utf8(code);
    if (encoded.empty()) fail("half a surrogate pair");
    all += encoded;
  }

  char32_t hex(std::size_t digits) {
    std::uint32_t code = 0;
    const std::string_view part = text_.substr(at_, digits);
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), code, 16);
    if (error != std::errc() || end != part.data() + digits) fail("hexadecimal digits expected");
    at_ += digits;
    return code;
  }

  std::string_view text_;
  std::size_t at_;
};

}  // namespace

json parse_literal(std::string_view text, std::size_t& at) {
  LiteralReader reader(text, at);
  json value = reader.value(0);
  at = reader.at();
  return value;
}

}  // namespace muster::data
