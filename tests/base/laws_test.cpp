// The laws of DESIGN section 4 that are about the source itself, and docs/laws.md, which says what
// tests the others.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/text.h"
#include "support/test_paths.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

// Lines of code (comments cut off) below `folders` that match, as "file:line: text".
std::vector<std::string> code_lines(const std::vector<std::string>& folders,
                                    const std::regex& pattern) {
  std::vector<std::string> found;
  for (const std::string& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(test::source_dir() / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".h" && extension != ".cu") continue;
      std::istringstream text(read_text(entry.path()));
      std::string line;
      for (int number = 1; std::getline(text, line); ++number) {
        const std::string code = line.substr(0, line.find("//"));
        if (!std::regex_search(code, pattern)) continue;
        found.push_back(fs::relative(entry.path(), test::source_dir()).string() + ":" +
                        std::to_string(number) + ": " + code);
      }
    }
  }
  return found;
}

const std::regex& waiting_calls() {
  static const std::regex pattern(
      R"([Bb]arrier\s*\(|DeviceSynchronize|device_synchronize|cuda::synchronize)");
  return pattern;
}

TEST_CASE("law 8: what a training step runs holds no barrier and no device synchronize", "[unit]") {
  for (const std::string line :
       {"MPI_Barrier(MPI_COMM_WORLD);", "group->barrier();", "cudaDeviceSynchronize();"}) {
    CHECK(std::regex_search(line, waiting_calls()));  // the control: these would be found
  }
  for (const std::string& line :
       code_lines({"trainer", "model", "sharding", "data", "base"}, waiting_calls()))
    FAIL_CHECK(line);
}

TEST_CASE("law 13: detection never goes through text generation", "[unit]") {
  const std::regex generates(R"(generate\.h|\bgenerate\s*\()");
  CHECK_FALSE(code_lines({"launcher/commands"}, generates).empty());  // `muster generate` does
  for (const std::string& line : code_lines({"trainer"}, generates)) FAIL_CHECK(line);
  for (const std::string command : {"predict", "eval"}) {
    const std::string text =
        read_text(test::source_dir() / "launcher/commands" / (command + ".cpp"));
    CHECK_FALSE(std::regex_search(text, generates));
  }
}

TEST_CASE("every law has a test, and every test named exists", "[unit]") {
  const std::string table = read_text(test::source_dir() / "docs/laws.md");
  const std::regex row(R"(\n\| (\d+)\. )"), guard(R"(`(tests/[^`#]+)#([^`]+)`)");
  std::set<int> laws;
  for (std::sregex_iterator it(table.begin(), table.end(), row), end; it != end; ++it) {
    const std::string line =
        table.substr(static_cast<std::size_t>(it->position(0)) + 1,
                     table.find('\n', static_cast<std::size_t>(it->position(0)) + 1) -
                         static_cast<std::size_t>(it->position(0)) - 1);
    if (std::regex_search(line, guard)) laws.insert(std::stoi((*it)[1]));
  }
  CHECK(laws == std::set<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
  for (std::sregex_iterator it(table.begin(), table.end(), guard), end; it != end; ++it) {
    const fs::path file = test::source_dir() / (*it)[1].str();
    INFO((*it)[0].str());
    REQUIRE(fs::exists(file));
    CHECK(join_literals(read_text(file)).find("\"" + (*it)[2].str()) != std::string::npos);
  }
}

}  // namespace
}  // namespace muster
