// UTF-8, read and written by utf8proc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace muster {

inline constexpr char32_t kReplacementCharacter = 0xfffd;

struct CodePoint {
  char32_t value = kReplacementCharacter;
  std::size_t bytes = 1;
  bool valid = false;
};

// The code point that `text` begins with; a first byte that begins none stands for itself alone, as
// U+FFFD. REQUIRES text that is not empty.
CodePoint first_code_point(std::string_view text);

std::string encode_utf8(char32_t code_point);  // "" for what is no code point

// `bytes` with every sequence that is not UTF-8 replaced by U+FFFD, one per maximal part of a valid
// sequence (as Unicode's section 3.9 recommends, and Python and Rust do).
std::string to_valid_utf8(std::string_view bytes);

// `text` for a terminal: control characters but newline and tab become \xNN, so that nothing from
// outside moves the cursor, changes colours or the window's title. What is not UTF-8 is replaced.
std::string printable(std::string_view text);

}  // namespace muster
