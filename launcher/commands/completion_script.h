// Shell completion is made from the command table itself.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace muster::launcher {

// Returns a script for bash or zsh. It offers commands, their options, the choices of an option,
// and after --set the names of `settings`; where none of these is due, it offers files.
std::string completion_script(const CLI::App& app, const std::string& shell,
                              const std::vector<std::string>& settings);

}  // namespace muster::launcher
