// muster tokens, as a user starts it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>

#include "base/files.h"
#include "base/process/process_tree.h"
#include "data/images/codec.h"
#include "data/sources/small_sets.h"
#include "support/test_paths.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("program: tokens takes pictures with suffixes of any case", "[unit]") {
  const TempDir dir;
  const data::Image image{56, 56, std::vector<std::uint8_t>(56 * 56 * 3, 90)};
  for (const char* name : {"b.Png", "c.PNG"})
    test::write_bytes(dir.path() / name, data::encode_png(image));
  const fs::path muster = test::build_dir() / "muster";
  for (const fs::path& input : {dir.path() / "b.Png", dir.path()}) {
    const CapturedRun run =
        run_captured({muster.string(), "tokens", input.string()}, std::chrono::seconds(60));
    INFO(run.output);
    CHECK(run.exit_code == 0);
    CHECK_THAT(run.output, ContainsSubstring("b.Png"));
  }
}

TEST_CASE("program: tokens of a sample of two pictures share one budget", "[unit]") {
  const TempDir dir;
  const data::Image image{280, 280, std::vector<std::uint8_t>(280 * 280 * 3, 90)};
  data::Sample sample;
  sample.name = "pair";
  for (const char* name : {"a.png", "b.png"}) {
    test::write_bytes(dir.path() / name, data::encode_png(image));
    sample.pictures.push_back({.path = dir.path() / name, .width = 280, .height = 280});
  }
  sample.pictures[1].orientation = 3;  // equal bytes, yet another picture
  data::write_pack(dir.path() / "p.h5", {sample}, {});
  const auto tokens = [&](const char* budget) {
    return run_captured({(test::build_dir() / "muster").string(), "tokens",
                         (dir.path() / "p.h5").string(), "--json", "--budget", budget},
                        std::chrono::seconds(60))
        .output;
  };
  CHECK_THAT(tokens("200"), ContainsSubstring("pair-2") && ContainsSubstring("\"over_budget\":0"));
  CHECK_THAT(tokens("150"), ContainsSubstring("\"over_budget\":2"));  // each picture has 100
}
