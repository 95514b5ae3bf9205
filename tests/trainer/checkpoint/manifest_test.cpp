// manifest.json decides nothing unchecked (law 16).
#include "trainer/checkpoint/manifest/manifest.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "trainer/checkpoint/saved.h"

using namespace muster;
using namespace muster::trainer;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using nlohmann::json;

namespace {

Manifest example() {
  Manifest m = test::manifest_at(12);
  m.world_size = 2;
  m.layout_hash = std::string(32, 'a');
  m.files["model.safetensors"] = {.bytes = 5, .xxh128 = std::string(32, '0')};
  return m;
}

// Format 1 carries no checksum, so that a value can be spoilt by itself.
std::string spoilt(const char* pointer, const json& value) {
  json j = json::parse(example().to_json());
  j.erase("xxh128");
  j["format"] = 1;
  j[json::json_pointer(pointer)] = value;
  return j.dump();
}

}  // namespace

TEST_CASE("manifest: what is written is read, in this format and the one before", "[unit]") {
  const Manifest m = example();
  CHECK(Manifest::from_json(m.to_json(), "m").to_json() == m.to_json());
  CHECK(Manifest::from_json(spoilt("/step", 12), "m").to_json() == m.to_json());
}

TEST_CASE("manifest: any changed or missing byte is seen", "[fault]") {
  const std::string whole = example().to_json();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    CAPTURE(at);
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 7)));
    CHECK_THROWS_AS(Manifest::from_json(changed, "m"), CheckpointError);
    CHECK_THROWS_AS(Manifest::from_json(whole.substr(0, at), "m"), CheckpointError);
  }
  CHECK_THROWS_MATCHES(Manifest::from_json(whole + "\n", "m"), CheckpointError,
                       MessageMatches(ContainsSubstring("its own checksum")));
}

TEST_CASE("manifest: wild values are refused by name", "[fault]") {
  const json most = std::numeric_limits<std::uint64_t>::max();
  const std::pair<const char*, std::vector<json>> cases[] = {
      {"/format", {3, -1, "1", 1.5}},
      {"/step", {most, -1, "12", 1.5, nullptr, json::array()}},
      {"/epoch", {most, -1, false}},
      {"/step_in_epoch", {most, -2}},
      {"/world_size", {most, -1, 1 << 21}},
      {"/health/recent_losses", {3, json::array({"a"})}},
      {"/health/skips", {most}},
      {"/health/lr_scale", {"1"}},
      {"/plateau/stale", {most}},
      {"/plateau", {7, json::array()}},
      {"/layout_hash", {"zz", 5}},
      {"/files", {json::array(), 5}},
      {"/files/model.safetensors/bytes", {most, -5, "5"}},
      {"/files/model.safetensors/xxh128", {"", 5, std::string(32, 'X')}},
      {"/files/..", {{{"bytes", 1}, {"xxh128", std::string(32, '0')}}}},
      {"/files/~1etc~1passwd", {{{"bytes", 1}, {"xxh128", std::string(32, '0')}}}},
      {"/files/a~1b", {{{"bytes", 1}, {"xxh128", std::string(32, '0')}}}},
  };
  for (const auto& [pointer, values] : cases) {
    for (const json& value : values) {
      CAPTURE(pointer, value.dump());
      CHECK_THROWS_AS(Manifest::from_json(spoilt(pointer, value), "m"), CheckpointError);
    }
  }
  CHECK_THROWS_AS(Manifest::from_json(std::string(100000, '['), "m"), CheckpointError);
  CHECK_THROWS_AS(Manifest::from_json("", "m"), CheckpointError);
}
