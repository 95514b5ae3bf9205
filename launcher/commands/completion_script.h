// Shell completion, made from the command table itself.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace muster::launcher {

// A script for bash or zsh: commands, their options, the choices of an option, and after --set the
// names of `settings`. Where none of these is due, files.
std::string completion_script(const CLI::App& app, const std::string& shell,
                              const std::vector<std::string>& settings);

}  // namespace muster::launcher
