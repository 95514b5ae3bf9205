// The rules of the house that are about files: no two of them include each other.
#include <fmt/core.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/pattern.h"
#include "support/test_paths.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

// A unit is what files of one folder and name make: a header and its source.
using Includes = std::map<std::string, std::set<std::string>>;  // unit -> units it includes

// Tests include their own files from tests/ on.
std::string unit_of(const fs::path& file) {
  const std::string unit = fs::path(file).replace_extension().generic_string();
  return unit.starts_with("tests/") ? unit.substr(6) : unit;
}

void add_includes(const std::string& unit, const std::string& text, Includes& includes) {
  static const Pattern quoted(R"(#include "([^"]+)\")", Pattern::Letters::kAsWritten);
  for (const Pattern::Match& include : quoted.all_in(text)) {
    const std::string other = unit_of(include.text(1));
    if (other != unit) includes[unit].insert(other);
  }
}

// "a <-> b" for all that include each other.
std::vector<std::string> mutual(const Includes& includes) {
  std::vector<std::string> pairs;
  for (const auto& [unit, others] : includes) {
    for (const std::string& other : others) {
      const auto back = includes.find(other);
      if (unit < other && back != includes.end() && back->second.contains(unit))
        pairs.push_back(fmt::format("{} <-> {}", unit, other));
    }
  }
  return pairs;
}

Includes read_tree(const std::vector<std::string>& folders) {
  const std::set<std::string> sources{".h", ".cpp", ".cuh", ".cu"};
  Includes includes;
  for (const std::string& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(test::source_dir() / folder)) {
      if (!sources.contains(entry.path().extension().string())) continue;
      const fs::path name = fs::relative(entry.path(), test::source_dir());
      add_includes(unit_of(name), read_text(entry.path()), includes);
    }
  }
  return includes;
}

TEST_CASE("no two file pairs of the tree include each other", "[unit]") {
  const Includes tree = read_tree(
      {"base", "bench", "configs", "data", "launcher", "model", "sharding", "tests", "trainer"});
  CHECK(tree.size() > 200);
  for (const std::string& pair : mutual(tree)) FAIL_CHECK(pair);
}

TEST_CASE("negative control: a header that includes its reader's header is found", "[unit]") {
  Includes includes;
  add_includes("room/a", "#include \"room/b.h\"\n#include <vector>\n", includes);
  add_includes("room/b", "#include \"room/c.h\"\n", includes);
  CHECK(mutual(includes).empty());
  add_includes("room/b", "#include \"room/a.h\"\n", includes);
  CHECK(mutual(includes) == std::vector<std::string>{"room/a <-> room/b"});
}

}  // namespace
}  // namespace muster
