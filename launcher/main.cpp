// muster: one binary, one table of commands. Errors are caught here and nowhere else.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "base/error.h"
#include "base/log.h"
#include "base/tensors/tensor_memory.h"
#include "launcher/commands/command_table.h"

int main(int argc, char** argv) {
  using namespace muster;
  use_tensor_memory();
  CLI::App app{
      "muster: fine-tunes a Qwen2.5-VL-style detector on many GPUs, and explains itself when it "
      "fails",
      "muster"};
  app.set_version_flag("--version", MUSTER_VERSION);
  app.require_subcommand(1);
  launcher::CommandLine cli{app, 0, argc, argv};
  launcher::add_commands(cli);

  try {
    app.parse(argc, argv);
    return cli.exit_code;
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
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
