#include "launcher/front/command_line.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/source_files.h"
#include "base/text.h"
#include "launcher/front/usage.h"
#include "launcher/front/version_text.h"
#include "launcher/runtime/ready.h"

namespace muster::launcher {
namespace {

constexpr std::string_view kBeforeExample = "\n  ";

int report_error(const char* what, ExitCode code) {
  log::flush_backtrace();
  fmt::print(stderr, "muster: {}\n", what);
  return static_cast<int>(code);
}

bool is_help(std::string_view word) { return word == "-h" || word == "--help"; }

// Help must not cost a fetched LibTorch: where there is none, an installed muster prints the texts
// that were made when it was built. Returns false when this is not about help, or there are none.
bool print_shipped_help(int argc, char** argv) {
  if (std::none_of(argv, argv + argc, is_help) || is_ready()) return false;
  const std::string command = is_help(argv[1]) ? "muster" : argv[1];
  const auto file = shipped_path(fs::path("help") / (command + ".txt"));
  if (!file) return false;
  fmt::print("{}", read_text(*file));
  return true;
}

}  // namespace

CLI::App& add_command(CommandLine& cli, const std::string& name, const std::string& about,
                      const std::vector<std::string>& examples) {
  CLI::App* command = cli.app.add_subcommand(name, about);
  command->set_help_flag("-h,--help", kHelpHelp);
  std::string footer = "Examples:";
  for (const std::string& example : examples) {
    footer += kBeforeExample;
    footer += example;
  }
  command->footer(footer);
  return *command;
}

std::vector<std::string> examples_of(const CLI::App& command) {
  std::vector<std::string> lines = split(command.get_footer(), '\n');
  lines.erase(lines.begin());  // "Examples:"
  for (std::string& line : lines) line.erase(0, kBeforeExample.size() - 1);
  return lines;
}

void hand_over(char** argv) {
  const fs::path program = executable_path().parent_path() / "muster-torch";
  make_ready();
  ::execv(program.c_str(), argv);
  throw PreflightError(
      fmt::format("{}: {}. The programs are installed together (`./run build` makes "
                  "all of them)",
                  program.string(), std::strerror(errno)));
}

void add_version(CommandLine& cli) {
  cli.app.set_version_flag("--version", version_text, "show the version");
}

int run(CommandLine& cli) {
  try {
    const std::string word = cli.argc > 1 ? cli.argv[1] : "";
    const bool known = word == "--version" || has_command(cli.app, word);
    if (!known && !cli.has_all()) {
      if (print_shipped_help(cli.argc, cli.argv)) return 0;
      hand_over(cli.argv);
    }
    check_first_word(cli.app, cli.argc, cli.argv);
    cli.app.parse(cli.argc, cli.argv);
    return cli.exit_code;
  } catch (const CLI::Success& done) {  // --help, --version
    return cli.app.exit(done);
  } catch (const CLI::ParseError& error) {
    return report_error(usage_line(cli.app, error).c_str(), ExitCode::kUsage);
  } catch (const Error& error) {
    return report_error(error.what(), error.exit_code());
  } catch (const std::exception& error) {
    return report_error(fmt::format("internal error: {}", error.what()).c_str(),
                        ExitCode::kRankFailed);
  }
}

}  // namespace muster::launcher
