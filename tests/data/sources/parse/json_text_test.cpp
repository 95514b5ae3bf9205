#include "data/sources/parse/json_text.h"

#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "data/sources/parse/numbers.h"

namespace muster::data {
namespace {

std::string entries(std::string_view text) {
  std::vector<std::string> all;
  for_each_json_entry(text,
                      [&](const std::string& key, std::int64_t index, nlohmann::json&& value) {
                        all.push_back(key + "#" + std::to_string(index) + "=" + value.dump());
                      });
  return join(all, " ");
}

}  // namespace

TEST_CASE("large JSON is told entry by entry", "[unit]") {
  CHECK(entries(R"([{"a": [1, {"b": 2}]}, 3, "x"])") == R"(#0={"a":[1,{"b":2}]} #1=3 #2="x")");
  CHECK(entries(R"({"info": {"year": 1}, "images": [{"id": 1}, [2]], "none": [], "n": null})") ==
        R"(info#-1={"year":1} images#0={"id":1} images#1=[2] images#-1=[] none#-1=[] n#-1=null)");
  CHECK(entries("[]").empty());
  CHECK_THROWS_AS(entries("3"), DataError);
  CHECK_THROWS_AS(entries("[1,"), JsonError);
  CHECK_THROWS_AS(entries(std::string(100000, '[')), JsonError);
}

TEST_CASE("numbers and ids as exporters write them", "[unit]") {
  CHECK((loose_number("12.5") == 12.5 && loose_number(3) == 3.0 && !loose_number("x") &&
         !loose_number(nullptr)));
  CHECK((loose_id(7) == "7" && loose_id(7.0) == "7" && loose_id("7") == "7" && !loose_id(7.5) &&
         !loose_id(nullptr) && loose_id("0001_d") == "0001_d"));
  CHECK(
      (integer_id("7") == 7 && !integer_id("007") && !integer_id("7a") && integer_id("-3") == -3));
  CHECK((loose_flag(true) && loose_flag(1) && loose_flag("1") && !loose_flag(nullptr) &&
         !loose_flag("0")));
}

}  // namespace muster::data
