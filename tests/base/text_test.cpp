#include "base/text.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster;

TEST_CASE("nearest_name suggests a near key and stays silent otherwise", "[unit]") {
  const std::vector<std::string> keys = {"bucket_bytes", "backend", "overlap"};
  CHECK(nearest_name("bucket_byte", keys) == "bucket_bytes");
  CHECK(nearest_name("overlpa", keys) == "overlap");
  CHECK(nearest_name("learning_rate", keys).empty());
}

TEST_CASE("human_bytes and human_seconds keep three digits", "[unit]") {
  CHECK(human_bytes(512) == "512 B");
  CHECK(human_bytes(3 * 1024 * 1024 / 2) == "1.5 MiB");
  CHECK(human_seconds(12.34) == "12.3 s");
  CHECK(human_seconds(187) == "3m 07s");
  CHECK(human_seconds(3720) == "1h 02m");
}

TEST_CASE("join_literals: adjacent literals are one, others stay apart", "[unit]") {
  CHECK(join_literals("f(\"one \"\n      \"two\", x)") == "f(\"one two\", x)");
  CHECK(join_literals("f(\"one\", \"two\")") == "f(\"one\", \"two\")");
  CHECK(join_literals("f(\"\")") == "f(\"\")");
}
