// The command itself: what it takes, where it writes, what it answers to anything else.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "trainer/tiny_run.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;

namespace {

// stdout and stderr in one.
CapturedRun look(const std::string& arguments) {
  const std::string line = (test::build_dir() / "muster").string() + " look " + arguments;
  return run_captured({"/bin/sh", "-c", line}, std::chrono::seconds(120));
}

}  // namespace

TEST_CASE("look: a page beside the pack, JSON on stdout", "[unit]") {
  const TempDir dir;
  const fs::path pack = dir.path() / "val.h5";
  fs::copy_file(test::TinyData::instance().folder() / "val.h5", pack);
  const CapturedRun page = look(pack.string());
  INFO(page.output);
  CHECK(page.exit_code == 0);
  CHECK_THAT(page.output, ContainsSubstring((dir.path() / "val.look.html").string()));
  CHECK_THAT(read_text(dir.path() / "val.look.html"), ContainsSubstring("The odd ones"));

  const CapturedRun listed = look(pack.string() + " --json -n 2 2> /dev/null");
  REQUIRE(listed.exit_code == 0);
  const auto seen = nlohmann::json::parse(listed.output);
  CHECK(seen["kind"] == "pack");
  CHECK(seen["samples"].size() == 2);
  CHECK(seen["samples"][0]["size"] == nlohmann::json{84, 84});
  CHECK(seen["samples"][0]["boxes"].size() == seen["samples"][0]["labels"].size());
}

TEST_CASE("look: what is none of the three is said, with what helps", "[unit]") {
  const TempDir dir;
  write_text(dir.path() / "a.json", "{}");
  for (const auto& [what, answer] : std::vector<std::pair<std::string, std::string>>{
           {(dir.path() / "none.h5").string(), "not there"},
           {(dir.path() / "a.json").string(), "make a pack first"},
           {dir.path().string(), "no config.yaml in it"}}) {
    const CapturedRun run = look(what);
    CHECK(run.exit_code == 64);
    CHECK_THAT(run.output, ContainsSubstring(answer));
  }
}
