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

// The members of Collective that ranks must call together, as collective.h names them.
std::vector<std::string> collective_members() {
  static const std::vector<std::string> kLocal{"Collective", "rank", "size", "name", "near"};
  const Pattern member(R"(virtual .*?(\w+)\()", Pattern::Letters::kAsWritten);
  std::vector<std::string> names;
  for (const std::string& line :
       split(read_text(test::source_dir() / "sharding/collectives/collective.h"), '\n')) {
    const auto found = member.first_in(line);
    if (!found || std::ranges::find(kLocal, found->text(1)) != kLocal.end()) continue;
    names.push_back(found->text(1));
  }
  return names;
}

// Calls of one of `members` on an object, in lines that bear no [C] and whose line above bears
// none.
std::vector<std::string> unmarked_calls(const std::string& text, const Pattern& calls) {
  constexpr std::string_view kMark = "[C]";
  std::vector<std::string> found;
  bool marked_above = false;
  for (const std::string& line : split(text, '\n')) {
    const bool marked = line.find(kMark) != std::string::npos;
    const std::string code = line.substr(0, line.find("//"));
    if (calls.found_in(code) && !marked && !marked_above) found.push_back(line);
    marked_above = marked;
  }
  return found;
}

TEST_CASE("every line that issues a collective is marked [C]", "[unit]") {
  const std::vector<std::string> members = collective_members();
  CHECK(std::ranges::find(members, "all_reduce_sum") != members.end());
  CHECK(members.size() >= 6);
  const Pattern calls("(->|\\.)(" + join(members, "|") + ")\\s*\\(", Pattern::Letters::kAsWritten);
  // The control: an unmarked call is found, a marked one and one below a mark are not.
  CHECK(unmarked_calls("group->broadcast(bytes, 0);\n", calls).size() == 1);
  CHECK(unmarked_calls("ranks.all_gather(bytes);  // [C] sizes\n", calls).empty());
  CHECK(unmarked_calls("post([&] {  // [C]\n  group->all_to_all(a, b);\n", calls).empty());
  for (const std::string folder : {"trainer", "sharding", "model", "data", "launcher"}) {
    for (const auto& entry : fs::recursive_directory_iterator(test::source_dir() / folder)) {
      const std::string path = fs::relative(entry.path(), test::source_dir()).string();
      // Backends pass a collective on; whoever called them bears the mark.
      if (path.starts_with("sharding/collectives/") || path.starts_with("sharding/cuda/")) continue;
      if (entry.path().extension() != ".cpp" && entry.path().extension() != ".h") continue;
      for (const std::string& line : unmarked_calls(read_text(entry.path()), calls))
        FAIL_CHECK(path << ": " << line);
    }
  }
}

TEST_CASE("law 13: detection never goes through text generation", "[unit]") {
  const Pattern generates(R"(generate\.h|\bgenerate\s*\()", Pattern::Letters::kAsWritten);
  CHECK_FALSE(code_lines({"launcher/commands"}, generates).empty());  // `muster generate` does
  // What the language model's own answers are worth is measured in one place, beside detection.
  for (const std::string& line : code_lines({"trainer"}, generates))
    if (!line.starts_with("trainer/evaluate/text_answers.cpp:")) FAIL_CHECK(line);
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
  CHECK(laws == std::set<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17});
  for (const Pattern::Match& found : guard.all_in(table)) {
    const fs::path file = test::source_dir() / found.text(1);
    INFO(found.text(0));
    REQUIRE(fs::exists(file));
    CHECK(join_literals(read_text(file)).find("\"" + found.text(2)) != std::string::npos);
  }
}

}  // namespace
}  // namespace muster
