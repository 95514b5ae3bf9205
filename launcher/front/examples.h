// What `muster COMMAND --help` ends with: one table, so that every command has examples and a test
// can walk them.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace muster::launcher {

// Command -> whole command lines, most useful first.
const std::map<std::string, std::vector<std::string>>& examples();

void add_examples(CLI::App& app);  // as the footer of each subcommand

}  // namespace muster::launcher
