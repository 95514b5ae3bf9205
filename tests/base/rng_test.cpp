#include "base/rng.h"

#include <catch2/catch_test_macros.hpp>

using namespace muster;

// The published test vectors of FNV-1a, 64 bits: weights drawn for a name must stay what they were.
TEST_CASE("the stream of a name is FNV-1a", "[unit]") {
  CHECK(hash_name("") == 0xcbf29ce484222325ULL);
  CHECK(hash_name("a") == 0xaf63dc4c8601ec8cULL);
  CHECK(hash_name("foobar") == 0x85944171f73967e8ULL);
}
