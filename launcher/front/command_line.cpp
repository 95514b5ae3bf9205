#include "launcher/front/command_line.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/source_files.h"

namespace muster::launcher {

bool is_front_command(int argc, char** argv) {
  constexpr std::array<std::string_view, 5> kCommands{"submit", "report", "triage", "doctor",
                                                      "status"};
  return argc > 1 && std::ranges::find(kCommands, argv[1]) != kCommands.end();
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
    cli.app.parse(cli.argc, cli.argv);
    return cli.exit_code;
  } catch (const CLI::Success& done) {
    return cli.app.exit(done);
  } catch (const CLI::ParseError& error) {
    cli.app.exit(error);
    return static_cast<int>(ExitCode::kUsage);
  } catch (const Error& error) {
    log::flush_backtrace();
    fmt::print(stderr, "muster: {}\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    log::flush_backtrace();
    fmt::print(stderr, "muster: internal error: {}\n", error.what());
    return static_cast<int>(ExitCode::kRankFailed);
  }
}

}  // namespace muster::launcher
