#include "data/sources/xml.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/error.h"

namespace muster::data {
namespace {

constexpr int kMaxDepth = 64;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.' ||
         c == ':' || (c & 0x80) != 0;
}

std::string trim(const std::string& text) {
  const auto begin = std::find_if_not(text.begin(), text.end(), is_space);
  const auto end = std::find_if_not(text.rbegin(), text.rend(), is_space).base();
  return begin < end ? std::string(begin, end) : std::string();
}

std::string utf8(std::uint32_t c) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xc0 | (c >> 6)), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xe0 | (c >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | (c >> 18)), tail(12), tail(6), tail(0)};
}

class XmlParser {
 public:
  XmlParser(std::string_view document, const std::string& file) : rest_(document), file_(file) {}

  XmlElement document() {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);
    skip_between();
    XmlElement root = element(0);
    skip_between();
    if (!rest_.empty()) fail("text after the root element");
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}:{}: {}", file_, line_, what));
  }

  void advance(std::size_t n) {
    line_ += std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(n), '\n');
    rest_.remove_prefix(n);
  }
  bool take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    advance(token.size());
    return true;
  }
  void expect(std::string_view token) {
    if (!take(token))
      fail(rest_.empty() ? fmt::format("the file ends where '{}' is expected", token)
                         : fmt::format("'{}' expected", token));
  }
  void skip_past(std::string_view end) {
    const std::size_t at = rest_.find(end);
    if (at == std::string_view::npos)
      fail(fmt::format("the file ends where '{}' is expected", end));
    advance(at + end.size());
  }
  void skip_space() {
    while (!rest_.empty() && is_space(rest_.front())) advance(1);
  }
  // White space, comments and declarations around the root.
  void skip_between() {
    for (;;) {
      skip_space();
      if (take("<!--"))
        skip_past("-->");
      else if (take("<?"))
        skip_past("?>");
      else
        return;
    }
  }

  std::string name() {
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_name);
    std::string text(rest_.begin(), end);
    if (text.empty()) fail("a name is expected");
    advance(text.size());
    return text;
  }

  void attributes() {
    for (skip_space(); !rest_.empty() && is_name(rest_.front()); skip_space()) {
      name();
      skip_space();
      expect("=");
      skip_space();
      const bool single = take("'");
      if (!single) expect("\"");
      skip_past(single ? "'" : "\"");
    }
  }

  XmlElement element(int depth) {
    if (depth > kMaxDepth) fail("elements are nested too deeply");
    XmlElement made;
    made.line = line_;
    expect("<");
    made.name = name();
    attributes();
    if (take("/>")) return made;
    expect(">");
    content(made, depth);
    if (name() != made.name)
      fail(fmt::format("<{}> of line {} is not closed", made.name, made.line));
    skip_space();
    expect(">");
    made.text = trim(made.text);
    return made;
  }

  // Up to and including the "</" of the closing tag.
  void content(XmlElement& parent, int depth) {
    while (!take("</")) {
      if (rest_.empty())
        fail(fmt::format("the file ends inside <{}> of line {}", parent.name, parent.line));
      if (take("<!--"))
        skip_past("-->");
      else if (rest_.front() == '<')
        parent.children.push_back(element(depth + 1));
      else if (rest_.front() == '&')
        parent.text += entity();
      else {
        const std::size_t end = std::min(rest_.find_first_of("<&"), rest_.size());
        parent.text += rest_.substr(0, end);
        advance(end);
      }
    }
  }

  std::string entity() {
    constexpr std::array<std::pair<std::string_view, const char*>, 5> kNamed{
        {{"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}, {"&quot;", "\""}, {"&apos;", "'"}}};
    for (const auto& [token, text] : kNamed)
      if (take(token)) return text;
    if (!take("&#")) fail("an unknown entity");
    const int base = take("x") ? 16 : 10;
    std::uint32_t code = 0;
    for (; !rest_.empty() && std::isxdigit(static_cast<unsigned char>(rest_.front())) != 0 &&
           code < 0x110000;
         advance(1)) {
      const char c = rest_.front();
      const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
      if (digit >= base) break;
      code = code * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
    }
    if (code == 0 || code > 0x10ffff) fail("a character reference that is no character");
    expect(";");
    return utf8(code);
  }

  std::string_view rest_;
  const std::string& file_;
  std::int64_t line_ = 1;
};

}  // namespace

const XmlElement* XmlElement::child(std::string_view child_name) const {
  const auto at = std::find_if(children.begin(), children.end(),
                               [&](const XmlElement& c) { return c.name == child_name; });
  return at == children.end() ? nullptr : &*at;
}

XmlElement parse_xml(std::string_view document, const std::string& file) {
  return XmlParser(document, file).document();
}

}  // namespace muster::data
