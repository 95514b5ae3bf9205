#include "launcher/front/config_arguments.h"

#include <CLI/CLI.hpp>

namespace muster::launcher {
namespace {

constexpr const char* kConfigHelp = "YAML file of the run";

// Each --set takes one word, so that CONFIG may follow it.
void add_set(CLI::App& command, std::vector<std::string>& overrides) {
  command.add_option("--set", overrides, "key.path=value, over the file's; may be repeated")
      ->allow_extra_args(false);
}

}  // namespace

void ConfigArguments::add_to(CLI::App& command) {
  command.add_option("CONFIG", file, kConfigHelp)->required();
  add_set(command, overrides);
}

void ConfigArguments::add_optional_to(CLI::App& command, const std::string& when_absent) {
  command.add_option("CONFIG", file, kConfigHelp + ("; " + when_absent));
  add_set(command, overrides);
}

configs::Config ConfigArguments::load() const { return configs::load(file, overrides); }

std::vector<std::string> ConfigArguments::words() const {
  std::vector<std::string> words = {file};
  for (const std::string& override : overrides) words.insert(words.end(), {"--set", override});
  return words;
}

}  // namespace muster::launcher
