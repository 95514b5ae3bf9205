#include "data/sources/parse/encoding.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using namespace std::string_literals;

}  // namespace

TEST_CASE("texts: byte order marks of UTF-8 and UTF-16", "[unit]") {
  CHECK(without_byte_order_mark("\xef\xbb\xbf"
                                "cat",
                                "f") == "cat");
  CHECK(without_byte_order_mark("\xff\xfe"
                                "c\0a\0t\0"s,
                                "f") == "cat");
  CHECK(without_byte_order_mark("\xfe\xff"
                                "\0c\0a\0t"s,
                                "f") == "cat");
  CHECK(without_byte_order_mark("cat", "f") == "cat");
}

TEST_CASE("texts: a mapped file is the same text, also where its memory was given back", "[unit]") {
  const TempDir dir;
  const auto read = [&](const std::string& bytes) {
    write_text(dir.path() / "a.txt", bytes);
    const SourceText text(dir.path() / "a.txt");
    text.forget_until(bytes.size());
    return std::string(text.view());
  };
  CHECK(read("").empty());
  CHECK(read("\xef\xbb\xbf"
             "cat") == "cat");
  CHECK(read("\xff\xfe"
             "c\0a\0t\0"s) == "cat");
  std::string large(150000, 'x');
  large[100000] = '\n';
  CHECK(read(large) == large);
}

TEST_CASE("texts: what is not UTF-8 is named with its line (D-015)", "[fault]") {
  const TempDir dir;
  write_text(dir.path() / "names.txt", "cat\n\xba\xec\n");
  CHECK_THROWS_MATCHES(
      read_source_text(dir.path() / "names.txt"), DataError,
      MessageMatches(ContainsSubstring("names.txt:2") && ContainsSubstring("not UTF-8")));
  CHECK(first_not_utf8("a\xc3\xa9z") == std::string_view::npos);
  CHECK(first_not_utf8("ab\xc3") == 2);
}

TEST_CASE("texts: encodings that a file declares", "[unit]") {
  CHECK(to_utf8("\xba\xec", "GB2312", "f") == "\xe7\xba\xa2");
  CHECK(to_utf8("\xe6\x46", "gb2312", "f") == "\xe9\x8d\xb2");  // of GBK only
  CHECK(to_utf8("\x82\xa0", "Shift_JIS", "f") == "\xe3\x81\x82");
  CHECK(to_utf8("\xa4\xa2", "EUC-JP", "f") == "\xe3\x81\x82");
  CHECK_THROWS_MATCHES(to_utf8("a\n\xff\xff", "GBK", "f"), DataError,
                       MessageMatches(ContainsSubstring("f:2: byte 0xff")));
  CHECK_THROWS_MATCHES(to_utf8("a", "klingon", "f"), DataError,
                       MessageMatches(ContainsSubstring("klingon")));
}

TEST_CASE("texts: lines of every system", "[unit]") {
  const auto lines = lines_of("a\nb\r\nc\rd\n\ne");
  CHECK(lines == std::vector<std::string_view>{"a", "b", "c", "d", "", "e"});
  CHECK(lines_of("\r\r\n\n") == std::vector<std::string_view>{"", "", ""});
  CHECK(lines_of("").empty());
  CHECK(trimmed(" \t a b \r\n") == "a b");
  CHECK(trimmed(" \n").empty());
}

}  // namespace muster::data
