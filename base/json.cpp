#include "base/json.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/utf8.h"

namespace muster {
namespace {

using nlohmann::json;

constexpr std::size_t kShown = 200;  // bytes of the library's text, which can quote a whole string

// "line 3, column 7" of a byte's place, from 0; in a text of one line the column alone.
std::string place(std::string_view text, std::size_t at) {
  const std::string_view before = text.substr(0, std::min(at, text.size()));
  const std::size_t last = before.rfind('\n');  // npos + 1 is 0
  const std::size_t column = before.size() - (last + 1) + 1;
  if (text.find('\n') >= text.size() - std::min<std::size_t>(text.size(), 1))
    return fmt::format("column {}", column);
  return fmt::format("line {}, column {}", std::ranges::count(before, '\n') + 1, column);
}

[[noreturn]] void fail(std::string_view text, std::size_t at, std::string_view what) {
  throw JsonError(fmt::format("{}: {}", place(text, at), what));
}

// Brackets outside strings nest; a text that is no JSON is judged by its parser afterwards.
void check_depth(std::string_view text) {
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (letter == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i)
        if (text[i] == '\\') ++i;
    } else if (letter == '[' || letter == '{') {
      if (++depth > kMaxJsonDepth)
        fail(text, i, fmt::format("nested over {} levels deep", kMaxJsonDepth));
    } else if (letter == ']' || letter == '}') {
      --depth;
    }
  }
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing
// value
// - unexpected ..." says its place and its number in the library's way: what follows is kept.
std::string detail_of(const json::parse_error& error) {
  std::string text = json_fault(error);
  for (const std::string_view mark : {" - ", ": "}) {
    const std::size_t at = text.find(mark);
    if (at == std::string::npos) continue;
    text.erase(0, at + mark.size());
    break;
  }
  if (text.size() > kShown) text = text.substr(0, kShown) + " ...";
  return to_valid_utf8(text);
}

template <typename Parse>
auto guarded(std::string_view text, const Parse& parse) {
  check_depth(text);
  try {
    return parse();
  } catch (const json::parse_error& error) {
    fail(text, error.byte == 0 ? 0 : error.byte - 1, detail_of(error));
  } catch (const json::out_of_range& error) {
    throw JsonError(json_fault(error));  // a number that no double holds
  }
}

}  // namespace

json parse_json(std::string_view text) {
  return guarded(text, [&] { return json::parse(text); });
}

nlohmann::ordered_json parse_ordered_json(std::string_view text) {
  return guarded(text, [&] { return nlohmann::ordered_json::parse(text); });
}

json parse_json(std::string_view text, const json::parser_callback_t& keep) {
  return guarded(text, [&] { return json::parse(text, keep); });
}

void scan_json(std::string_view text, nlohmann::json_sax<json>& reader) {
  guarded(text, [&] { return json::sax_parse(text, &reader); });
}

json parse_json_or_null(std::string_view text) {
  try {
    return parse_json(text);
  } catch (const json::exception&) {
    return nullptr;
  }
}

std::string json_fault(const json::exception& error) {
  const std::string_view text = error.what();
  const std::size_t end = text.starts_with("[json.exception.") ? text.find("] ") : text.npos;
  return std::string(end == text.npos ? text : text.substr(end + 2));
}

}  // namespace muster
