#include "base/json.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>
#include <string_view>

namespace muster {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using nlohmann::json;

std::string fault(std::string_view text) {
  try {
    parse_json(text);
  } catch (const JsonError& error) {
    return error.what();
  }
  return "";
}

std::string nested(int levels, const std::string& open, const std::string& close) {
  std::string text;
  for (int i = 0; i < levels; ++i) text += open;
  text += "1";
  for (int i = 0; i < levels; ++i) text += close;
  return text;
}

TEST_CASE("json: a value is what the library reads", "[unit]") {
  CHECK(parse_json(R"({"b": [1, 2.5, "x"], "a": null})") ==
        json({{"b", {1, 2.5, "x"}}, {"a", nullptr}}));
  CHECK(parse_ordered_json(R"({"b": 1, "a": 2})").dump() == R"({"b":1,"a":2})");
  CHECK(parse_json("\xEF\xBB\xBF[1]") == json::array({1}));
  const auto keep = [](int, json::parse_event_t event, json& value) {
    return event != json::parse_event_t::key || value != "b";
  };
  CHECK(parse_json(R"({"b": [1], "a": 2})", keep) == json({{"a", 2}}));
  CHECK(parse_json_or_null("[1]") == json::array({1}));
  CHECK(parse_json_or_null("[1").is_null());
}

TEST_CASE("json: an error says line and column, and not the library's number", "[unit]") {
  CHECK_THAT(fault("{\"a\": 1,\n \"b\" 2}\n"), StartsWith("line 2, column 6: "));
  CHECK_THAT(fault("{\"a\": 1,\n \"b\" 2}"), ContainsSubstring("expected ':'"));
  CHECK_THAT(fault("[1, }"), StartsWith("column 5: "));
  CHECK_THAT(fault("[1,\n"), ContainsSubstring("unexpected end of input"));
  CHECK_THAT(fault(""), StartsWith("column 1: "));
  CHECK_THAT(fault("[1e999]"), ContainsSubstring("number overflow"));
  for (const char* text : {"[1, }", "", "nul", "\"a", "{\"a\": \"\xFF\"}", "[1e999]", "[1] 2"}) {
    INFO(text);
    CHECK(!fault(text).empty());
    CHECK(fault(text).find("json.exception") == std::string::npos);
  }
  CHECK(fault("\"" + std::string(100000, 'a')).size() < 400);
}

// The library parses any depth and ends the process when it copies the value.
TEST_CASE("json: 256 levels are read, more are an error with its place", "[fault]") {
  CHECK(fault(nested(256, "[", "]")).empty());
  CHECK_THAT(fault(nested(257, "[", "]")), ContainsSubstring("column 257: nested over 256 levels"));
  CHECK_THAT(fault(nested(100000, "[", "]")), ContainsSubstring("nested over 256 levels"));
  CHECK_THAT(fault(nested(100000, "{\"a\":", "}")), ContainsSubstring("nested over 256 levels"));
  CHECK_THAT(fault(std::string(100000, '[')), ContainsSubstring("nested over 256 levels"));
  CHECK(parse_json_or_null(nested(100000, "[", "]")).is_null());
}

TEST_CASE("json: brackets in strings do not nest", "[unit]") {
  CHECK(fault("[\"" + std::string(1000, '[') + "\"]").empty());
  CHECK(fault(R"(["\"[[", "\\"])").empty());
  std::string wide = "[";
  for (int i = 0; i < 1000; ++i) wide += "[],{},";
  CHECK(fault(wide + "1]").empty());
}

TEST_CASE("json: a member of another kind is taken for absent", "[unit]") {
  const json object =
      parse_json(R"({"text": "x", "number": 3, "real": 2.5, "huge": 1e300, "list": [1]})");
  CHECK(member_or(object, "number", 7) == 3);
  CHECK(member_or(object, "text", 7) == 7);
  CHECK(member_or(object, "real", 7) == 7);
  CHECK(member_or(object, "huge", 7) == 7);
  CHECK(member_or(object, "number", 0.5) == 3.0);
  CHECK(member_or(object, "absent", std::string("y")) == "y");
  CHECK(member_or(object, "list", std::vector<std::string>{}).empty());
  CHECK(member_or(json::array(), "text", 7) == 7);
}

TEST_CASE("json: what the library says of a value, without its number", "[unit]") {
  try {
    parse_json("{}").at("images");
    FAIL("no exception");
  } catch (const json::exception& error) {
    CHECK(json_fault(error) == "key 'images' not found");
  }
}

}  // namespace
}  // namespace muster
