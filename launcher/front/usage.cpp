#include "launcher/front/usage.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

std::vector<const CLI::App*> all_commands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : all_commands(app)) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) continue;  // an internal one
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

// Returns "; did you mean '--fresh'?", or "" when no name is near. One letter is near to
// everything.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& names) {
  const std::string near = word.size() > 2 ? nearest_name(word, names) : "";
  return near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
}

// Offers the nearest name, or says where all names are listed.
std::string suggestion(const std::string& word, const std::vector<std::string>& names,
                       const std::string& help) {
  const std::string near = did_you_mean(word, names);
  return near.empty() ? fmt::format("; `{} --help` lists them", help) : near;
}

std::string unknown_option(const CLI::App& command, const std::string& word,
                           const std::string& help) {
  const std::string name = word.substr(0, word.find('='));
  return fmt::format("unknown option '{}'{}", name, suggestion(name, option_names(command), help));
}

// Returns "-n,--ranks", or the name of a positional.
std::string shown_name(const CLI::Option& option) { return option.get_name(false, true); }

std::string in_quotes(const std::string& value) { return fmt::format("'{}'", value); }

// Of the words that were left over, one with a dash is the mistake; a plain word may only be its
// value.
std::string left_over(const CLI::App& command, const std::string& help) {
  const std::vector<std::string> words = command.remaining();
  const auto dashed = std::ranges::find_if(
      words, [](const std::string& word) { return word.size() > 1 && word.starts_with('-'); });
  if (dashed != words.end()) return unknown_option(command, *dashed, help);
  return fmt::format("'{}' is one word too many; `{} --help` shows the form", words.front(), help);
}

std::string missing(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_required() || option->count() > 0) continue;
    names.push_back(fmt::format("{} ({})", shown_name(*option), option->get_description()));
  }
  return "missing: " + join(names, ", ");
}

std::string wrong_value(const CLI::Option& option) {
  const std::vector<std::string>& values = option.results();
  std::vector<std::string> quoted;
  std::ranges::transform(values, std::back_inserter(quoted), in_quotes);
  const std::string takes = allowed(option);
  std::string line = fmt::format("{} is {}", shown_name(option), join(quoted, ", "));
  if (!takes.empty()) line += "; allowed: " + takes;
  return line + did_you_mean(values.back(), choices(option));
}

std::string wrong_count(const CLI::Option& option) {
  if (option.count() > 1)
    return fmt::format("{} is given {} times", shown_name(option), option.count());
  const std::string takes = allowed(option);
  return fmt::format("{} needs a value: {}", shown_name(option),
                     takes.empty() ? option.get_description() : takes);
}

// CLI11's errors name their option in their text alone, as "--ranks: ..." or "Could not convert:
// --ranks = x".
const CLI::Option* option_of(const CLI::App& command, const std::string& what) {
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    if (name.empty()) continue;  // an internal one
    if (what.starts_with(name + ":")) return option;
    if (what.starts_with("Could not convert: " + name + " = ")) return option;
  }
  return nullptr;
}

std::string what_is_wrong(const CLI::App& command, const CLI::ParseError& error,
                          const std::string& help) {
  if (!command.remaining().empty()) return left_over(command, help);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) return missing(command);
  const CLI::Option* option = option_of(command, error.what());
  if (option == nullptr) return error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) return wrong_count(*option);
  return wrong_value(*option);
}

// Makes "6 to 100" of "INT in [6 - 100]", and "" when the type names no range.
std::string range_in(const std::string& type) {
  const std::size_t open = type.find('[');
  const std::size_t close = type.find(']', open);
  if (open == std::string::npos || close == std::string::npos) return "";
  const std::string range = type.substr(open + 1, close - open - 1);
  const std::size_t dash = range.find(" - ");
  if (dash == std::string::npos) return "";
  return range.substr(0, dash) + " to " + range.substr(dash + 3);
}

std::string number(const std::string& type) {
  const bool whole = type.starts_with("INT") || type.starts_with("UINT");
  std::string kind = whole ? "a whole number" : "a number";
  if (const std::string range = range_in(type); !range.empty()) return kind + " from " + range;
  if (type.find(":POSITIVE") != std::string::npos) return kind + (whole ? " >= 1" : " > 0");
  if (type.starts_with("UINT") || type.find(":NONNEGATIVE") != std::string::npos)
    return kind + " >= 0";
  return kind;
}

}  // namespace

std::vector<std::string> choices(const CLI::Option& option) {
  // CLI11 writes the members of a set into the type's name: "TEXT:{auto,mpirun,srun}", those of a
  // map with what they stand for, a character that nobody can read: "{raw->\1,ema->\2}".
  const std::string type = option.get_type_name();
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return {};
  std::vector<std::string> words = split(type.substr(open + 1, close - open - 1), ',');
  for (std::string& word : words) word = word.substr(0, word.find("->"));
  return words;
}

std::string allowed(const CLI::Option& option) {
  if (const auto words = choices(option); !words.empty()) return join(words, " | ");
  const std::string type = option.get_type_name();  // such as "INT:POSITIVE"
  for (const char* kind : {"INT", "UINT", "FLOAT"})
    if (type.starts_with(kind)) return number(type);
  if (type.ends_with(":FILE")) return "a file that exists";
  if (type.ends_with(":DIR")) return "a folder that exists";
  if (type.ends_with(":PATH(existing)")) return "a file or folder that exists";
  return "";
}

bool has_command(const CLI::App& app, const std::string& word) {
  const std::vector<std::string> names = command_names(app);
  return std::ranges::find(names, word) != names.end();
}

void check_first_word(const CLI::App& app, int argc, const char* const* argv) {
  if (argc < 2) throw UsageError("no command; `muster --help` lists them");
  const std::string word = argv[1];
  if (word.starts_with('-')) {
    if (app.get_option_no_throw(word.substr(0, word.find('='))) == nullptr)
      throw UsageError(unknown_option(app, word, "muster"));
    return;
  }
  if (!has_command(app, word))
    throw UsageError(fmt::format("unknown command '{}'{}", word,
                                 suggestion(word, command_names(app), "muster")));
}

std::string usage_line(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  if (parsed.empty()) return what_is_wrong(app, error, "muster");
  const CLI::App& command = *parsed.back();
  return fmt::format("{}: {}", command.get_name(),
                     what_is_wrong(command, error, "muster " + command.get_name()));
}

}  // namespace muster::launcher
