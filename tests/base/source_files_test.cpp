#include "base/source_files.h"

#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "support/test_paths.h"

namespace muster {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("source files: a built program finds the tree above it, and what is given comes first",
          "[unit]") {
  CHECK(shipped_path("DEBUG_DIARY.md") == test::source_dir() / "DEBUG_DIARY.md");
  CHECK_FALSE(shipped_path("no/such/file").has_value());
  CHECK_FALSE(installed_prefix().has_value());
  CHECK(given_or_shipped("/no/such/file") == "/no/such/file");
  CHECK(given_or_shipped("no/such/file") == "no/such/file");
  const TempDir dir;
  write_text(dir.path() / "given.yaml", "");
  CHECK(given_or_shipped(dir.path() / "given.yaml") == dir.path() / "given.yaml");
}

// Run by the next case, as a program in another place.
TEST_CASE("source files: seen from an installed program", "[.installed]") {
  const std::string prefix = installed_prefix().value_or("none").string();
  fmt::print("prefix {}\nbase {}\nrun {}\n", prefix,
             shipped_path("configs/base.yaml").value_or("none").string(),
             shipped_path("run").value_or("none").string());
}

TEST_CASE("source files: an installed program finds share/muster, wherever its tree lies",
          "[unit]") {
  const TempDir dir;
  const fs::path tree = fs::canonical(dir.path()) / "elsewhere";
  const fs::path base = tree / "share/muster/configs/base.yaml";
  fs::create_directories(base.parent_path());
  fs::create_directories(tree / "bin");
  write_text(base, "");
  write_text(tree / "run", "");  // above bin, but not shipped
  fs::copy_file(executable_path(), tree / "bin/program");
  const CapturedRun run =
      run_captured({(tree / "bin/program").string(), "[.installed]"}, std::chrono::seconds(60));
  CHECK(run.exit_code == 0);
  CHECK_THAT(run.output, ContainsSubstring("prefix " + tree.string() + "\n") &&
                             ContainsSubstring("base " + base.string() + "\n") &&
                             ContainsSubstring("run none\n"));
}

}  // namespace
}  // namespace muster
