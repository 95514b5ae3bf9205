#include "data/sources/parse/literal.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "base/error.h"

namespace muster::data {
namespace {

std::string parsed(std::string_view text) {
  std::size_t at = 0;
  return parse_literal(text, at).dump();
}

}  // namespace

TEST_CASE("literals: JSON and Python's repr", "[unit]") {
  CHECK(parsed("[1, 2.5, -3, +4, 1e3]") == "[1,2.5,-3,4,1000.0]");
  CHECK(parsed("{'a': True, \"b\": None, 'c': (1, 2,), 4: false}") ==
        R"({"4":false,"a":true,"b":null,"c":[1,2]})");
  CHECK(parsed(R"("tab\t\u00e9\ud83d\ude00\x41")") ==
        "\"tab\\t\xc3\xa9\xf0\x9f\x98\x80"
        "A\"");
  CHECK(parsed(R"('it\'s "so"')") == R"("it's \"so\"")");
  CHECK(parsed("[]") == "[]");
  CHECK(parsed("{}") == "{}");
  std::size_t at = 2;
  CHECK((parse_literal("x [1] y", at) == nlohmann::json{1} && at == 5));
}

TEST_CASE("literals: what is broken throws, however deep", "[fault]") {
  for (const char* bad : {"", "[", "[1", "[1 2]", "{1}", "{'a'}", "'open", "word", "[1,,2]",
                          "\"\\u12\"", "\"\\ud800\"", "-", "{'a': }"})
    CHECK_THROWS_AS(parsed(bad), DataError);
  CHECK_THROWS_AS(parsed(std::string(100000, '[')), DataError);
}

}  // namespace muster::data
