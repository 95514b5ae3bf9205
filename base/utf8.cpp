#include "base/utf8.h"

#include <fmt/core.h>

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace muster {
namespace {

// How many bytes the sequence at the front has; 0 when they are not UTF-8.
std::size_t sequence_bytes(std::string_view text, utf8proc_int32_t* code) {
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), code);
  return length > 0 ? static_cast<std::size_t>(length) : 0;
}

// Whether some continuation bytes make a sequence of the whole `prefix`. Only the second byte is
// bound to less than 0x80..0xbf, so any continuation bytes decide it for prefixes of two and more.
bool begins_sequence(std::string_view prefix) {
  std::array<char, 4> bytes;
  bytes.fill('\x80');
  std::memcpy(bytes.data(), prefix.data(), prefix.size());
  for (std::size_t total = prefix.size() + 1; total <= bytes.size(); ++total) {
    utf8proc_int32_t ignored = 0;
    if (sequence_bytes({bytes.data(), total}, &ignored) == total) return true;
  }
  return false;
}

// The length of the longest part of a valid sequence at the front of bytes that are none.
std::size_t broken_bytes(std::string_view bytes) {
  for (std::size_t length = std::min<std::size_t>(3, bytes.size()); length > 1; --length)
    if (begins_sequence(bytes.substr(0, length))) return length;
  return 1;
}

}  // namespace

CodePoint first_code_point(std::string_view text) {
  utf8proc_int32_t code = 0;
  const std::size_t bytes = sequence_bytes(text, &code);
  if (bytes == 0) return {};
  return {static_cast<char32_t>(code), bytes, true};
}

std::string encode_utf8(char32_t code_point) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto code = static_cast<utf8proc_int32_t>(code_point);
  if (!utf8proc_codepoint_valid(code)) return "";
  const auto length = utf8proc_encode_char(code, bytes.data());
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length)};
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const CodePoint point = first_code_point(bytes);
    const std::size_t length = point.valid ? point.bytes : broken_bytes(bytes);
    out += point.valid ? bytes.substr(0, length) : std::string_view("\xef\xbf\xbd");
    bytes.remove_prefix(length);
  }
  return out;
}

std::string printable(std::string_view text) {
  const std::string valid = to_valid_utf8(text);
  std::string shown;
  for (std::string_view rest = valid; !rest.empty();) {
    const CodePoint point = first_code_point(rest);
    const char32_t c = point.value;
    const bool is_space = c == U'\n' || c == U'\t';
    const bool controls = (c < 0x20 && !is_space) || (c >= 0x7f && c < 0xa0);
    if (controls)
      shown += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    else
      shown.append(rest.substr(0, point.bytes));
    rest.remove_prefix(point.bytes);
  }
  return shown;
}

}  // namespace muster
