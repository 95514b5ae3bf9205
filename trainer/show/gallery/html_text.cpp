#include "trainer/show/gallery/html_text.h"

#include <fmt/core.h>

#include "base/utf8.h"

namespace muster::trainer {
namespace {

constexpr char32_t kSymbolOfNull = 0x2400;  // the symbols of the 32 controls follow each other
constexpr char32_t kSymbolOfDelete = 0x2421;

bool is_between(char32_t c, char32_t first, char32_t last) { return c >= first && c <= last; }

// Marks of direction and joiners; a wrong order of letters can hide what a label says.
bool acts_unseen(char32_t c) {
  return is_between(c, 0x80, 0x9f) || c == 0xad || c == 0x61c || is_between(c, 0x200b, 0x200f) ||
         is_between(c, 0x2028, 0x202e) || is_between(c, 0x2060, 0x206f) || c == 0xfeff ||
         c == 0xfffc || is_between(c, 0xe0000, 0xe007f);
}

std::string_view entity(char32_t c) {
  switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return "";
  }
}

std::string html_of(const CodePoint& point) {
  const char32_t c = point.value;
  if (const std::string_view name = entity(c); !name.empty()) return std::string(name);
  if (c == '\n' || c == '\t') return encode_utf8(c);
  if (c < 0x20) return encode_utf8(kSymbolOfNull + c);
  if (c == 0x7f) return encode_utf8(kSymbolOfDelete);
  if (acts_unseen(c)) return fmt::format("&lt;U+{:04X}&gt;", static_cast<std::uint32_t>(c));
  return encode_utf8(c);
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string html;
  html.reserve(text.size());
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    html += html_of(point);
    text.remove_prefix(point.bytes);
  }
  return html;
}

std::string shortened(std::string_view text, std::size_t most) {
  std::size_t kept_bytes = 0;
  std::size_t characters = 0;
  for (std::size_t at = 0; at < text.size(); ++characters) {
    if (characters == most) kept_bytes = at;
    at += first_code_point(text.substr(at)).bytes;
  }
  if (characters <= most) return std::string(text);
  return fmt::format("{}... (and {} more characters)", text.substr(0, kept_bytes),
                     characters - most);
}

}  // namespace muster::trainer
