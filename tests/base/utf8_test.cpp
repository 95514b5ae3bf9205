#include "base/utf8.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

using namespace muster;

TEST_CASE("utf8: code points are read and written", "[unit]") {
  for (const auto& [text, code] : {std::pair<std::string, char32_t>{"a", U'a'},
                                   {"\xc3\xa9", 0xe9},
                                   {"\xe7\xba\xa2", 0x7ea2},
                                   {"\xf0\x9f\x98\x80", 0x1f600}}) {
    const CodePoint point = first_code_point(text + "z");
    CHECK(point.valid);
    CHECK(point.value == code);
    CHECK(point.bytes == text.size());
    CHECK(encode_utf8(code) == text);
  }
  CHECK(encode_utf8(0xd800).empty());  // a surrogate is no character
  CHECK(encode_utf8(0x110000).empty());
}

TEST_CASE("utf8: bytes that begin no character stand for themselves alone", "[unit]") {
  // Stray continuation, overlong, surrogate, above U+10FFFF, cut short.
  for (const std::string text :
       {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe7\xba"}) {
    const CodePoint point = first_code_point(text);
    CHECK_FALSE(point.valid);
    CHECK(point.value == kReplacementCharacter);
    CHECK(point.bytes == 1);
  }
}

// The expected counts are Python's: len(b"...".decode(errors="replace")).
TEST_CASE("utf8: one replacement per maximal part of a sequence", "[unit]") {
  const std::string r = "\xef\xbf\xbd";
  CHECK(to_valid_utf8("ab\xc3\xa9") == "ab\xc3\xa9");
  CHECK(to_valid_utf8("\xe7\xba") == r);
  CHECK(to_valid_utf8("\xe7\xba"
                      "a") == r + "a");
  CHECK(to_valid_utf8("\xf0\x9f\x98"
                      "a") == r + "a");
  CHECK(to_valid_utf8("\xf0\x9f") == r);
  CHECK(to_valid_utf8("\xe0\x80\x80") == r + r + r);
  CHECK(to_valid_utf8("\xed\xa0\x80") == r + r + r);
  CHECK(to_valid_utf8("\xf4\x90\x80\x80") == r + r + r + r);
  CHECK(to_valid_utf8("\xc0\xaf") == r + r);
  CHECK(to_valid_utf8("\xff") == r);
  CHECK(to_valid_utf8("\xc3\xc3\xa9") == r + "\xc3\xa9");
}

TEST_CASE("control characters become visible, text stays", "[unit]") {
  CHECK(printable("a\tb\nc") == "a\tb\nc");
  CHECK(printable("\x1b[31mred\x7f") == "\\x1b[31mred\\x7f");
  CHECK(printable("\xc2\x9b"
                  "1m") == "\\x9b1m");  // the one-byte form of ESC [
  CHECK(printable("Stra\xc3\x9f"
                  "e \xe7\x8c\xab") ==
        "Stra\xc3\x9f"
        "e \xe7\x8c\xab");
}
