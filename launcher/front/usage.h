// A command line that cannot be understood is answered with one line: what was said, what is
// allowed, the nearest name.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
class ParseError;
}  // namespace CLI

namespace muster::launcher {

// Is this the name of one of the commands that were added?
bool has_command(const CLI::App& app, const std::string& word);

// Throws UsageError when the first word is neither a command nor an option of `app`, or is absent.
void check_first_word(const CLI::App& app, int argc, const char* const* argv);

// Returns the line, which begins with the command's name. REQUIRES that `error` comes from the last
// app.parse().
std::string usage_line(const CLI::App& app, const CLI::ParseError& error);

// Returns the words that an option is limited to; empty when it takes other words, too.
std::vector<std::string> choices(const CLI::Option& option);

// Says what an option takes: "a whole number >= 1", "auto | mpirun | srun"; "" for any text.
std::string allowed(const CLI::Option& option);

}  // namespace muster::launcher
