// Man pages, made of the same descriptions as --help.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace muster::launcher {

// muster(1): all commands in one sentence each, environment, exit codes.
std::string manual_of_program(const CLI::App& app);

// muster-COMMAND(1): synopsis, options, examples.
std::string manual_of_command(const CLI::App& command);

}  // namespace muster::launcher
