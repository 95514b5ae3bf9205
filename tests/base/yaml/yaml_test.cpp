#include "base/yaml/yaml.h"

#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>

namespace muster {
namespace {

using Catch::Matchers::ContainsSubstring;

std::string fault(const std::string& text) {
  try {
    parse_yaml(text);
  } catch (const YAML::Exception& error) {
    return fmt::format("{}:{}: {}", error.mark.line + 1, error.mark.column + 1, error.msg);
  }
  return "";
}

TEST_CASE("yaml: documents are what the library reads", "[unit]") {
  const auto documents = parse_yaml("a: &x [1, 2]\nb: *x\n---\nc\n");
  REQUIRE(documents.size() == 2);
  CHECK(documents[0]["b"][1].as<int>() == 2);
  CHECK(parse_yaml("").empty());
  CHECK(!fault("a: [1\n").empty());
}

TEST_CASE("yaml: depth is bounded, in flow and in block style", "[fault]") {
  CHECK(fault(std::string(100, '[') + std::string(100, ']')).empty());
  CHECK_THAT(fault(std::string(101, '[') + std::string(101, ']')),
             ContainsSubstring("1:101: nested over 100 levels"));
  CHECK_THAT(fault(std::string(100000, '[')), ContainsSubstring("nested over 100 levels"));
  CHECK_THAT(fault(std::string(100000, '{')), ContainsSubstring("nested over 100 levels"));
  std::string block, lists;
  for (std::size_t i = 0; i < 1000; ++i) {
    block += std::string(i, ' ') + "a:\n";
    lists += "- ";
  }
  CHECK_THAT(fault(block), ContainsSubstring("nested over 100 levels"));
  CHECK_THAT(fault(lists), ContainsSubstring("nested over 100 levels"));
}

TEST_CASE("yaml: an alias that holds itself is an error, not an endless walk", "[fault]") {
  CHECK_THAT(fault("a: &x [*x]\n"), ContainsSubstring("inside of what it names"));
  CHECK_THAT(fault("&x {a: {b: [1, *x]}}\n"), ContainsSubstring("inside of what it names"));
}

// Found by the yaml fuzz target: the library gave documents without end, and LoadAll() never
// returned.
TEST_CASE("yaml: what is never used up is an error, not an endless list of documents", "[fault]") {
  const std::string text =
      "!: &x0, \"tuo\", ~]}\nc:--.-  : v.\n {b: [0, \"tuo\", ~]}\nc:--.-  : v.\n---\n- |";
  CHECK(!fault(text).empty());
  CHECK(parse_yaml("---\n---\na\n").size() == 2);
}

TEST_CASE("yaml: a few aliases that stand for billions of values are an error", "[fault]") {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    text += fmt::format("a{}: &a{} [", i, i);
    for (int k = 0; k < 10; ++k) text += fmt::format("{}*a{}", k > 0 ? ", " : "", i - 1);
    text += "]\n";
  }
  CHECK_THAT(fault(text), ContainsSubstring("stand for over 10000000 values"));
}

}  // namespace
}  // namespace muster
