#include "base/pattern.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <utility>

#include "base/error.h"

namespace muster {
namespace {

using Letters = Pattern::Letters;

// Matches are views into the text, which a temporary one would leave before they are read.
template <typename Text>
concept Searchable = requires(const Pattern& pattern, Text&& text) {
  pattern.first_in(std::forward<Text>(text));
  pattern.all_in(std::forward<Text>(text));
};
static_assert(Searchable<std::string&> && Searchable<const char*> && !Searchable<std::string>);

TEST_CASE("a pattern gives its groups, and says which took no part", "[unit]") {
  const Pattern pattern(R"(rank (\d+)(?: on (\S+))?(?: at (\d+))?)");
  const std::string line = "Rank 12 at 7 left";
  const auto match = pattern.first_in(line);
  REQUIRE(match);
  CHECK(match->begin == 0);
  CHECK(match->end == 12);
  CHECK(match->text(0) == "Rank 12 at 7");
  CHECK(match->text(1) == "12");
  CHECK_FALSE(match->has(2));
  CHECK(match->text(2).empty());
  CHECK(match->text(3) == "7");
  CHECK_FALSE(pattern.first_in(line, 1));
}

TEST_CASE("a pattern finds all matches from left to right, empty ones too", "[unit]") {
  const std::string text = "a1bb22";
  const auto numbers = Pattern(R"(\d+)").all_in(text);
  REQUIRE(numbers.size() == 2);
  CHECK(numbers[0].text(0) == "1");
  CHECK(numbers[1].text(0) == "22");
  CHECK(Pattern("x*").all_in(text).size() == 7);
}

TEST_CASE("a pattern takes letters of any case, or as they are written", "[unit]") {
  CHECK(Pattern("nan").found_in("NaN"));
  CHECK_FALSE(Pattern("nan", Letters::kAsWritten).found_in("NaN"));
  CHECK_THROWS_AS(Pattern("("), UsageError);
}

// std::regex recursed once per character: a line of a log of this length ended the process.
TEST_CASE("a pattern takes a line of any length", "[unit]") {
  const std::string line = "2026-11-21 " + std::string(2'000'000, '1') + " [rank 1/2 n] it broke";
  const auto match = Pattern(R"(^\S+ [\d.:]+ (\[[^\]]*\] )?)").first_in(line);
  REQUIRE(match);
  CHECK(match->text(1) == "[rank 1/2 n] ");
}

}  // namespace
}  // namespace muster
