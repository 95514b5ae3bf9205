#include "launcher/front/command_line.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
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

namespace muster::launcher {
namespace {

constexpr std::string_view kBeforeExample = "\n  ";

int report_error(const char* what, ExitCode code) {
  log::flush_backtrace();
  fmt::print(stderr, "muster: {}\n", what);
  return static_cast<int>(code);
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
  ::execv(program.c_str(), argv);
  throw PreflightError(
      fmt::format("{}: {}. The programs are installed together (`./run build` makes "
                  "all of them)",
                  program.string(), std::strerror(errno)));
}

int run(CommandLine& cli) {
  try {
    const bool known = cli.argc > 1 && has_command(cli.app, cli.argv[1]);
    if (!known && !cli.has_all()) hand_over(cli.argv);
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
