#include "launcher/commands/completion_script.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/text.h"
#include "launcher/front/usage.h"

namespace muster::launcher {
namespace {

struct CompletedOption {
  std::vector<std::string> names;  // "-o", "--out"
  std::string about;
  bool takes_value = false;
  bool repeats = false;
  std::vector<std::string> choices;  // of the value; empty: files
};

struct CompletedCommand {
  std::string name;
  std::string about;
  std::vector<CompletedOption> options;
  std::vector<std::string> first_words;  // choices of the first positional
};

CompletedOption completed(const CLI::Option& option, const std::vector<std::string>& settings) {
  CompletedOption one;
  for (const std::string& name : option.get_snames()) one.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) one.names.push_back("--" + name);
  one.about = option.get_description();
  one.takes_value = option.get_items_expected_max() > 0;
  one.repeats = option.get_items_expected_max() > 1;
  one.choices = choices(option);
  if (option.check_lname("set"))
    for (const std::string& key : settings) one.choices.push_back(key + "=");
  return one;
}

std::vector<CompletedCommand> completed_commands(const CLI::App& app,
                                                 const std::vector<std::string>& settings) {
  std::vector<CompletedCommand> commands;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_group().empty()) continue;  // internal
    CompletedCommand command{sub->get_name(), sub->get_description(), {}, {}};
    for (const CLI::Option* option : sub->get_options()) {
      if (option->nonpositional())
        command.options.push_back(completed(*option, settings));
      else if (command.first_words.empty())
        command.first_words = choices(*option);
    }
    commands.push_back(std::move(command));
  }
  return commands;
}

// The bash script has three `case`s; these are their bodies.
struct BashCases {
  std::string options;  // names, by command
  std::string values;   // choices, by command and option
  std::string words;    // choices of the first positional, by command
};

void add_value_case(BashCases& cases, const std::string& command, const CompletedOption& option) {
  std::vector<std::string> patterns;
  for (const std::string& name : option.names)
    patterns.push_back(fmt::format("'{} {}'", command, name));
  cases.values += fmt::format("    {}) words='{}' value=1 ;;\n", join(patterns, "|"),
                              join(option.choices, " "));
}

void add_cases(BashCases& cases, const CompletedCommand& command) {
  std::vector<std::string> names;
  for (const CompletedOption& option : command.options) {
    names.insert(names.end(), option.names.begin(), option.names.end());
    if (option.takes_value) add_value_case(cases, command.name, option);
  }
  cases.options += fmt::format("    {}) words='{}' ;;\n", command.name, join(names, " "));
  if (command.first_words.empty()) return;
  cases.words +=
      fmt::format("    {}) words='{}' ;;\n", command.name, join(command.first_words, " "));
}

// Its four gaps are the commands and the bodies of BashCases: values, options, words.
constexpr const char* kBashScript = R"(# bash completion of muster; made by `muster completion bash`
_muster() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}"
  local command="${{COMP_WORDS[1]}}" words='' value=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '{} --help --version' -- "$cur")
    return
  fi
  case "$command $prev" in
{}  esac
  if [ -z "$value" ] && [[ "$cur" == -* ]]; then case "$command" in
{}  esac
  elif [ -z "$value" ]; then case "$command" in
{}    *) ;;
  esac; fi
  [ -z "$words" ] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  [[ "${{COMPREPLY[0]-}}" != *= ]] || compopt -o nospace 2>/dev/null
}}
complete -o default -F _muster muster
)";

std::string bash_script(const std::vector<CompletedCommand>& commands) {
  std::vector<std::string> names;
  BashCases cases;
  for (const CompletedCommand& command : commands) {
    names.push_back(command.name);
    add_cases(cases, command);
  }
  return fmt::format(fmt::runtime(kBashScript), join(names, " "), cases.values, cases.options,
                     cases.words);
}

// Returns the text as it stands inside '...[...]' of _arguments.
std::string zsh_quoted(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    if (c == '\'')
      quoted += "'\\''";
    else if (c == '[' || c == ']' || c == ':')
      quoted += std::string("\\") + c;
    else
      quoted += c;
  }
  return quoted;
}

std::string zsh_option(const CompletedOption& option) {
  std::string lines;
  for (const std::string& name : option.names) {
    std::string value;
    if (option.takes_value)
      value = option.choices.empty()
                  ? ":value:_files"
                  : fmt::format(":value:({})", zsh_quoted(join(option.choices, " ")));
    lines += fmt::format(" \\\n        '{}{}[{}]{}'", option.repeats ? "*" : "", name,
                         zsh_quoted(option.about), value);
  }
  return lines;
}

// Its two gaps are the commands and their cases.
constexpr const char* kZshScript = R"(#compdef muster
# zsh completion of muster; made by `muster completion zsh`
_muster() {{
  local -a commands
  commands=(
{}  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  local command=$words[2]
  shift words; (( CURRENT-- ))
  case $command in
{}  esac
}}
compdef _muster muster
)";

std::string zsh_script(const std::vector<CompletedCommand>& commands) {
  std::string names;
  std::string cases;
  for (const CompletedCommand& command : commands) {
    names += fmt::format("    '{}:{}'\n", command.name, zsh_quoted(command.about));
    std::string lines;
    for (const CompletedOption& option : command.options) lines += zsh_option(option);
    const std::string rest = command.first_words.empty()
                                 ? "*:file:_files"
                                 : fmt::format("1:word:({})", join(command.first_words, " "));
    cases += fmt::format("    {}) _arguments{} \\\n        '{}' ;;\n", command.name, lines, rest);
  }
  return fmt::format(fmt::runtime(kZshScript), names, cases);
}

}  // namespace

std::string completion_script(const CLI::App& app, const std::string& shell,
                              const std::vector<std::string>& settings) {
  const std::vector<CompletedCommand> commands = completed_commands(app, settings);
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  throw UsageError("completion: " + shell + ": bash or zsh");
}

}  // namespace muster::launcher
