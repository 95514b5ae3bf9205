// Every command explains itself: help with examples that are true, and completion in the shells
// themselves.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/completion_script.h"
#include "launcher/commands/manual_page.h"
#include "launcher/front/command_line.h"
#include "launcher/front/usage.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

struct CommandTable {
  CLI::App app{"muster", "muster"};
  CommandLine cli{app};
  CommandTable() { add_commands(cli); }
  std::vector<CLI::App*> commands() {
    return app.get_subcommands([](CLI::App* command) { return !command->get_group().empty(); });
  }
};

// Returns what bash offers for a line whose last word is under the cursor.
std::string bash_offers(const fs::path& script, const std::string& line) {
  const fs::path out = script.parent_path() / "offers";
  const std::string body = fmt::format(
      "source {}; COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _muster; echo \" "
      "${{COMPREPLY[*]}} \"",
      script.string(), line);
  const std::string command = fmt::format("bash -c '{}' > {}", body, out.string());
  REQUIRE(std::system(command.c_str()) == 0);
  return read_text(out);
}

}  // namespace

TEST_CASE("help: every command has a description and examples whose options exist", "[unit]") {
  CommandTable table;
  CHECK(table.commands().size() >= 18);
  for (CLI::App* command : table.commands()) {
    INFO(command->get_name());
    CHECK_THAT(command->help(), ContainsSubstring("Examples:"));
    const std::vector<std::string> examples = examples_of(*command);
    CHECK_FALSE(examples.empty());
    for (const std::string& example : examples) {
      INFO(example);
      const std::size_t at = example.find("muster " + command->get_name());
      REQUIRE(at != std::string::npos);
      std::istringstream words(example.substr(at));
      for (std::string word; words >> word;)
        if (word.size() > 1 && word[0] == '-') CHECK(command->get_option_no_throw(word) != nullptr);
    }
  }
}

// "Open MPI" would not pass; "COCO results" and "HH:MM:SS" do.
bool starts_small(const std::string& text) {
  const auto is_capital = [&](std::size_t at) {
    return at < text.size() && text[at] >= 'A' && text[at] <= 'Z';
  };
  return !text.empty() && (!is_capital(0) || is_capital(1));
}

TEST_CASE("help: all texts have one voice", "[unit]") {
  CHECK_FALSE(starts_small("Draw shapes"));  // the control
  CommandTable table;
  for (CLI::App* command : table.commands()) {
    INFO(command->get_name());
    CHECK(starts_small(command->get_description()));
    for (const CLI::Option* option : command->get_options()) {
      INFO(option->get_name());
      CHECK(starts_small(option->get_description()));
      if (option->nonpositional()) continue;
      const std::string name = option->get_name(true);
      CHECK(std::ranges::none_of(name, [](char c) { return c >= 'a' && c <= 'z'; }));
    }
  }
}

TEST_CASE("help: CONFIG and --set are the same words in every command that has them", "[unit]") {
  CommandTable table;
  int with_config = 0;
  for (const CLI::App* command : table.commands()) {
    INFO(command->get_name());
    if (command->get_name() == "look") continue;  // it takes more than a config
    const CLI::Option* set = command->get_option_no_throw("--set");
    const CLI::Option* config = command->get_option_no_throw("CONFIG");
    REQUIRE((set == nullptr) == (config == nullptr));
    if (set == nullptr) continue;
    ++with_config;
    CHECK_THAT(config->get_description(), StartsWith("YAML file of the run"));
    CHECK(set->get_description() == "key.path=value, over the file's; may be repeated");
  }
  CHECK(with_config == 8);
}

TEST_CASE("help: what an option takes is told in words, wherever it is told", "[unit]") {
  CommandTable table;
  const auto plain = [](const std::string& text) {
    return std::ranges::none_of(text, [](unsigned char c) { return c < ' ' && c != '\n'; });
  };
  for (CLI::App* command : table.commands()) {
    INFO(command->get_name());
    CHECK(plain(manual_of_command(*command)));
  }
  for (const char* shell : {"bash", "zsh"}) CHECK(plain(completion_script(table.app, shell, {})));
  CHECK_THAT(manual_of_command(*table.app.get_subcommand("pack")),
             ContainsSubstring("\\fInorm1000|resized|stored\\fR"));
  CHECK(allowed(*table.app.get_subcommand("export")->get_option("--weights")) == "ema | raw");
}

TEST_CASE("help: `muster --help` lists every command", "[unit]") {
  CommandTable table;
  const CapturedRun run =
      run_captured({(test::build_dir() / "muster").string(), "--help"}, std::chrono::seconds(60));
  CHECK(run.exit_code == 0);
  for (const CLI::App* command : table.commands())
    CHECK_THAT(run.output, ContainsSubstring("\n  " + command->get_name() + " "));
}

TEST_CASE("completion: what bash offers", "[unit]") {
  CommandTable table;
  const TempDir dir;
  const fs::path script = dir.path() / "muster.bash";
  write_text(script, completion_script(table.app, "bash", {"run.dir", "batch.max_tokens"}));
  CHECK_THAT(bash_offers(script, "muster \"\""), ContainsSubstring(" launch ") &&
                                                     ContainsSubstring(" triage ") &&
                                                     !ContainsSubstring("rank-wrap"));
  CHECK(bash_offers(script, "muster lau") == " launch \n");
  CHECK(bash_offers(script, "muster launch c.yaml --fre") == " --fresh \n");
  CHECK_THAT(bash_offers(script, "muster submit -"),
             ContainsSubstring(" --dry-run ") && !ContainsSubstring("--fresh"));
  CHECK(bash_offers(script, "muster launch c.yaml --starter \"\"") == " auto mpirun srun \n");
  CHECK(bash_offers(script, "muster launch c.yaml --set ba") == " batch.max_tokens= \n");
  CHECK(bash_offers(script, "muster completion \"\"") == " bash zsh \n");
  CHECK(bash_offers(script, "muster launch \"\"") == "  \n");  // files, by complete -o default
  CHECK_THROWS_AS(completion_script(table.app, "fish", {}), UsageError);
}

TEST_CASE("completion: zsh takes the script", "[unit]") {
  if (std::system("command -v zsh > /dev/null 2>&1") != 0) SKIP("zsh is not installed");
  CommandTable table;
  const TempDir dir;
  const fs::path script = dir.path() / "_muster";
  const fs::path out = dir.path() / "out";
  write_text(script, completion_script(table.app, "zsh", {"run.dir"}));
  const std::string command = fmt::format(
      "zsh -f -c 'autoload -U compinit; compinit -D -u -d {1}/dump; source {0}; echo "
      "$_comps[muster] "
      "$+functions[_muster]' > {2}",
      script.string(), dir.path().string(), out.string());
  REQUIRE(std::system(command.c_str()) == 0);
  CHECK(read_text(out) == "_muster 1\n");
}
