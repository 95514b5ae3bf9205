// The laws of docs/laws.md that are about the source itself; the page says what tests the others.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/pattern.h"
#include "base/text.h"
#include "support/test_paths.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

// Lines of code (comments cut off) below `folders` that match, as "file:line: text".
std::vector<std::string> code_lines(const std::vector<std::string>& folders,
                                    const Pattern& pattern) {
  std::vector<std::string> found;
  for (const std::string& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(test::source_dir() / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".h" && extension != ".cu") continue;
      std::istringstream text(read_text(entry.path()));
      std::string line;
      for (int number = 1; std::getline(text, line); ++number) {
        const std::string code = line.substr(0, line.find("//"));
        if (!pattern.found_in(code)) continue;
        found.push_back(fs::relative(entry.path(), test::source_dir()).string() + ":" +
                        std::to_string(number) + ": " + code);
      }
    }
  }
  return found;
}

const Pattern& waiting_calls() {
  static const Pattern pattern(
      R"([Bb]arrier\s*\(|DeviceSynchronize|device_synchronize|cuda::synchronize)",
      Pattern::Letters::kAsWritten);
  return pattern;
}

TEST_CASE("law 8: what a training step runs holds no barrier and no device synchronize", "[unit]") {
  for (const std::string line :
       {"MPI_Barrier(MPI_COMM_WORLD);", "group->barrier();", "cudaDeviceSynchronize();"}) {
    CHECK(waiting_calls().found_in(line));  // the control: these would be found
  }
  for (const std::string& line :
       code_lines({"trainer", "model", "sharding", "data", "base"}, waiting_calls()))
    FAIL_CHECK(line);
}

TEST_CASE("law 13: detection never goes through text generation", "[unit]") {
  const Pattern generates(R"(generate\.h|\bgenerate\s*\()", Pattern::Letters::kAsWritten);
  CHECK_FALSE(code_lines({"launcher/commands"}, generates).empty());  // `muster generate` does
  for (const std::string& line : code_lines({"trainer"}, generates)) FAIL_CHECK(line);
  for (const std::string command : {"predict", "eval"}) {
    const std::string text =
        read_text(test::source_dir() / "launcher/commands" / (command + ".cpp"));
    CHECK_FALSE(generates.found_in(text));
  }
}

TEST_CASE("every law has a test, and every test named exists", "[unit]") {
  const std::string table = read_text(test::source_dir() / "docs/laws.md");
  const Pattern row(R"(\n\| (\d+)\. )");
  const Pattern guard(R"(`(tests/[^`#]+)#([^`]+)`)");
  std::set<int> laws;
  for (const Pattern::Match& found : row.all_in(table)) {
    const std::size_t begin = found.begin + 1;  // behind the line break
    const std::string line = table.substr(begin, table.find('\n', begin) - begin);
    if (guard.found_in(line)) laws.insert(std::stoi(found.text(1)));
  }
  CHECK(laws == std::set<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
  for (const Pattern::Match& found : guard.all_in(table)) {
    const fs::path file = test::source_dir() / found.text(1);
    INFO(found.text(0));
    REQUIRE(fs::exists(file));
    CHECK(join_literals(read_text(file)).find("\"" + found.text(2)) != std::string::npos);
  }
}

}  // namespace
}  // namespace muster
