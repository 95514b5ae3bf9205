// What is wrong with the words of a command line, each time as one line: the word, what is allowed,
// the nearest name.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
class ParseError;
}  // namespace CLI

namespace muster::launcher {

// Throws UsageError when the first word is neither a command nor an option of `app`, or is absent.
void check_first_word(const CLI::App& app, int argc, const char* const* argv);

// REQUIRES that `error` comes from the last app.parse(). The line begins with the command's name.
std::string usage_line(const CLI::App& app, const CLI::ParseError& error);

// The words an option is limited to; empty when it is not limited to a few words.
std::vector<std::string> choices(const CLI::Option& option);

// What an option takes, in words: "a whole number >= 1", "auto | mpirun | srun"; "" for any text.
std::string allowed(const CLI::Option& option);

}  // namespace muster::launcher
