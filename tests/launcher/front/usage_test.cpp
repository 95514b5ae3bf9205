// A command line that cannot be understood gets one line: what, where, what is allowed, the nearest
// word.
#include "launcher/front/usage.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "base/process/process_tree.h"
#include "launcher/commands/command_table.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;

namespace {

struct Understood {};

// Returns what is said about the words after `muster`; "" when they are understood. No command
// runs: what it would be called with lives as long as its callback, which therefore stays.
std::string said(std::vector<std::string> words) {
  CLI::App app{"muster", "muster"};
  app.set_version_flag("--version", "0");
  app.require_subcommand(1);
  CommandLine cli{app};
  add_commands(cli);
  app.parse_complete_callback([] { throw Understood(); });
  words.insert(words.begin(), "muster");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  try {
    check_first_word(app, static_cast<int>(argv.size()), argv.data());
    app.parse(static_cast<int>(argv.size()), argv.data());
    return "nothing stopped the command";
  } catch (const Understood&) {
    return "";
  } catch (const UsageError& error) {
    return error.what();
  } catch (const CLI::ParseError& error) {
    return usage_line(app, error);
  }
}

}  // namespace

TEST_CASE("usage: an unknown command or option names the nearest one", "[unit]") {
  CHECK(said({"launch", "c.yaml", "-n", "2"}).empty());  // the control
  CHECK(said({"lanch"}) == "unknown command 'lanch'; did you mean 'launch'?");
  CHECK(said({"frobnicate"}) == "unknown command 'frobnicate'; `muster --help` lists them");
  CHECK(said({}) == "no command; `muster --help` lists them");
  CHECK(said({"--versoin"}) == "unknown option '--versoin'; did you mean '--version'?");
  CHECK(said({"launch", "c.yaml", "-n", "2", "--frehs"}) ==
        "launch: unknown option '--frehs'; did you mean '--fresh'?");
  // The misspelt option is the mistake, not the required one that it was meant for.
  CHECK(said({"launch", "c.yaml", "--rank", "2"}) ==
        "launch: unknown option '--rank'; did you mean '--ranks'?");
  CHECK(said({"plan", "c.yaml", "--zzzzzzzz=1"}) ==
        "plan: unknown option '--zzzzzzzz'; `muster plan --help` lists them");
  CHECK(said({"status", "a", "b"}) ==
        "status: 'b' is one word too many; `muster status --help` shows the form");
}

TEST_CASE("usage: a bad value is told with its option and what is allowed", "[unit]") {
  CHECK(said({"launch", "c.yaml", "-n", "two"}) ==
        "launch: -n,--ranks is 'two'; allowed: a whole number >= 1");
  CHECK(said({"launch", "c.yaml", "-n", "0"}) ==
        "launch: -n,--ranks is '0'; allowed: a whole number >= 1");
  CHECK(said({"launch", "c.yaml", "-n", "2.5"}) ==
        "launch: -n,--ranks is '2.5'; allowed: a whole number >= 1");
  CHECK(said({"launch", "c.yaml", "-n", "2", "--color", "alway"}) ==
        "launch: --color is 'alway'; allowed: auto | always | never; did you mean 'always'?");
  CHECK(said({"pack", "x", "-o", "y", "--boxes", "pixels"}) ==
        "pack: --boxes is 'pixels'; allowed: norm1000 | resized | stored");
  CHECK(said({"memcheck", "c.yaml", "--steps", "2"}) ==
        "memcheck: --steps is '2'; allowed: a whole number from 6 to 1000000");
  CHECK(said({"plan", "c.yaml", "--tflops", "x"}) ==
        "plan: --tflops is 'x'; allowed: a number >= 0");
  CHECK(said({"submit", "c.yaml", "--nodes", "x", "--gpus-per-node", "1"}) ==
        "submit: --nodes is 'x'; allowed: a whole number");
  CHECK(said({"report", "/no/such"}) ==
        "report: RUN_DIR is '/no/such'; allowed: a folder that exists");
}

TEST_CASE("usage: what is missing, and what is given twice", "[unit]") {
  CHECK(said({"launch", "-n", "2"}) == "launch: missing: CONFIG (YAML file of the run)");
  CHECK(said({"launch"}) ==
        "launch: missing: CONFIG (YAML file of the run), -n,--ranks (how many ranks, over all "
        "machines)");
  CHECK(said({"launch", "c.yaml", "-n"}) ==
        "launch: -n,--ranks needs a value: a whole number >= 1");
  CHECK(said({"launch", "c.yaml", "-n", "1", "-n", "2"}) == "launch: -n,--ranks is given 2 times");
}

TEST_CASE("usage: the program answers with one line on stderr and 64", "[unit]") {
  const std::string muster = (test::build_dir() / "muster").string();
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"lanch"},
                                             {"launch", "c.yaml", "-n", "two"},
                                             {"status", "--jsn"},
                                             {"doctor", "--facts", "x"},
                                             {}}) {
    std::vector<std::string> argv = {muster};
    argv.insert(argv.end(), words.begin(), words.end());
    const CapturedRun run = run_captured(argv, std::chrono::seconds(60));
    INFO(run.output);
    CHECK(run.exit_code == 64);
    CHECK(run.output.starts_with("muster: "));
    CHECK(std::ranges::count(run.output, '\n') == 1);
  }
}

TEST_CASE("front: muster loads neither LibTorch nor MPI", "[unit]") {
  const std::string program = (test::build_dir() / "muster").string();
  const CapturedRun loaded = run_captured({"ldd", program}, std::chrono::seconds(20));
  REQUIRE(loaded.exit_code == 0);
  for (const char* library : {"libtorch", "libc10", "libmpi"}) {
    INFO(library);
    CHECK(loaded.output.find(library) == std::string::npos);
  }
  // The control: what it becomes for the other commands does.
  const CapturedRun all = run_captured({"ldd", program + "-torch"}, std::chrono::seconds(20));
  CHECK(all.output.find("libtorch") != std::string::npos);
}
