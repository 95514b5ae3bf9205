#include "launcher/commands/manual_page.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <vector>

#include "base/text.h"
#include "base/version.h"
#include "launcher/front/command_line.h"
#include "launcher/front/usage.h"

namespace muster::launcher {
namespace {

// Text as troff takes it: a backslash, a dash and a leading dot or quote mean something there.
std::string troff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else
      result += c;
  }
  if (result.starts_with('.') || result.starts_with('\'')) result.insert(0, "\\&");
  return result;
}

std::string heading(const std::string& page, const std::string& about) {
  return fmt::format(".TH \"{}\" 1 \"\" \"muster {}\" \"muster\"\n.SH NAME\n{} \\- {}\n", page,
                     kVersion, troff(page), troff(about));
}

// What follows an option: its choices, or what kind of value it takes.
std::string value_name(const CLI::Option& option) {
  if (option.get_items_expected_max() == 0) return "";
  if (const auto words = choices(option); !words.empty()) return join(words, "|");
  const std::string type = option.get_type_name();
  return type.substr(0, type.find(':'));
}

std::string described(const CLI::Option& option) {
  std::string text = option.get_description();
  if (const std::string takes = allowed(option); !takes.empty()) text += "; " + takes;
  if (const std::string usual = option.get_default_str(); !usual.empty())
    text += fmt::format(" [{}]", usual);
  return text;
}

std::string option_entry(const CLI::Option& option) {
  std::vector<std::string> names;
  if (!option.nonpositional()) names.push_back(option.get_name(true));
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  const std::string value = option.nonpositional() ? value_name(option) : "";
  return fmt::format(".TP\n\\fB{}\\fR{}\n{}\n", troff(join(names, ", ")),
                     value.empty() ? "" : " \\fI" + troff(value) + "\\fR",
                     troff(described(option)));
}

std::string synopsis(const CLI::App& command) {
  std::string words = "muster " + command.get_name();
  for (const CLI::Option* option : command.get_options()) {
    if (option->nonpositional() || option->get_group().empty()) continue;
    const std::string name = option->get_name(true);
    words += option->get_required() ? " " + name : " [" + name + "]";
  }
  return words + " [OPTIONS]";
}

constexpr const char* kEnvironment = R"(.SH ENVIRONMENT
.TP
\fBMUSTER_LIBTORCH\fR
folder of the LibTorch to load, or of Python's torch; without it the active Python's, or a fetched one
.TP
\fBMUSTER_MPI\fR
folder that holds bin/mpirun of the Open MPI to use; without it the one in PATH, or a fetched one
.TP
\fBMUSTER_CACHE\fR
folder for what is fetched; without it ~/.cache/muster
.SH EXIT STATUS
0 done; 64 command line or config; 65 data; 69 this machine cannot run it; 70 a rank failed; 71 a rank hung; 74 input or
output; 75 stopped on request; 77 numbers went bad; 78 out of memory; 93 no progress in three attempts
)";

}  // namespace

std::string manual_of_program(const CLI::App& app) {
  std::string page = heading("muster", "fine-tunes a vision-language detector on many GPUs");
  page += ".SH SYNOPSIS\nmuster COMMAND [OPTIONS]\n.SH COMMANDS\n";
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_group().empty()) continue;
    page += fmt::format(".TP\n\\fBmuster\\-{}\\fR(1)\n{}\n", troff(command->get_name()),
                        troff(command->get_description()));
  }
  return page + kEnvironment;
}

std::string manual_of_command(const CLI::App& command) {
  std::string page = heading("muster-" + command.get_name(), command.get_description());
  page += fmt::format(".SH SYNOPSIS\n{}\n.SH OPTIONS\n", troff(synopsis(command)));
  for (const CLI::Option* option : command.get_options())
    if (!option->get_group().empty()) page += option_entry(*option);
  page += ".SH EXAMPLES\n.nf\n";
  for (const std::string& example : examples_of(command)) page += troff(example) + "\n";
  return page + ".fi\n.SH SEE ALSO\n\\fBmuster\\fR(1)\n";
}

}  // namespace muster::launcher
