#include "launcher/supervise/site.h"

#include <fmt/core.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "base/yaml/yaml.h"

namespace muster::launcher {
namespace {

class SiteReader {
 public:
  explicit SiteReader(fs::path file) : file_(std::move(file)) {}

  Site read() {
    const YAML::Node root = parse();
    if (!root.IsNull() && !root.IsMap()) complain(root, "wanted keys and values");
    if (root.IsMap())
      for (const auto& entry : root) take(entry.first.as<std::string>(), entry.first, entry.second);
    if (!problems_.empty()) throw ConfigError(join(problems_, "\n"));
    return std::move(site_);
  }

 private:
  YAML::Node parse() const {
    try {
      const std::vector<YAML::Node> documents = parse_yaml(read_text(file_));
      return documents.empty() ? YAML::Node() : documents.front();
    } catch (const YAML::Exception& error) {
      throw ConfigError(fmt::format("{}:{}: {}", file_.string(), error.mark.line + 1, error.msg));
    }
  }

  void complain(const YAML::Node& node, const std::string& what) {
    problems_.push_back(fmt::format("{}:{}: {}", file_.string(), node.Mark().line + 1, what));
  }

  void take(const std::string& key, const YAML::Node& name, const YAML::Node& value) {
    if (key == "partition")
      site_.partition = text(value, key);
    else if (key == "account")
      site_.account = text(value, key);
    else if (key == "modules")
      site_.modules = texts(value, key);
    else if (key == "sbatch")
      site_.sbatch = texts(value, key);
    else if (key == "setup")
      site_.setup = texts(value, key);
    else if (key == "environment")
      take_environment(value);
    else
      complain(name, unknown(key));
  }

  static std::string unknown(const std::string& key) {
    const std::vector<std::string> known{"partition", "account", "modules",
                                         "sbatch",    "setup",   "environment"};
    const std::string near = nearest_name(key, known);
    return fmt::format(
        "unknown key {}; {}", key,
        near.empty() ? "there are " + join(known, ", ") : fmt::format("did you mean {}?", near));
  }

  std::string text(const YAML::Node& value, const std::string& key) {
    const std::string word = value.IsScalar() ? value.as<std::string>() : "";
    if (word.empty() || word.find_first_of("\r\n") != std::string::npos)
      complain(value, key + ": wanted one line of text");
    return word;
  }

  std::vector<std::string> texts(const YAML::Node& value, const std::string& key) {
    std::vector<std::string> words;
    if (!value.IsSequence()) complain(value, key + ": wanted a list");
    for (const YAML::Node& item : value) words.push_back(text(item, key));
    return words;
  }

  void take_environment(const YAML::Node& value) {
    if (!value.IsMap()) {
      complain(value, "environment: wanted NAME: value");
      return;
    }
    for (const auto& entry : value) {
      const auto name = entry.first.as<std::string>();
      constexpr const char* kLetters =
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
      const bool good = !name.empty() && name.find_first_not_of(kLetters) == std::string::npos;
      if (!good) complain(entry.first, fmt::format("'{}' is no name of a variable", name));
      site_.environment.emplace_back(name, text(entry.second, name));
    }
  }

  fs::path file_;
  Site site_;
  std::vector<std::string> problems_;
};

}  // namespace

std::optional<fs::path> find_site_file() {
  if (const char* named = std::getenv("MUSTER_SITE"); named != nullptr && *named != '\0') {
    if (!fs::is_regular_file(named))
      throw UsageError(fmt::format("MUSTER_SITE={}: there is no such file", named));
    return fs::path(named);
  }
  std::vector<fs::path> places{fs::path("slurm") / "site.yaml"};
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    places.push_back(fs::path(home) / ".config" / "muster" / "site.yaml");
  for (const fs::path& place : places)
    if (fs::is_regular_file(place)) return place;
  return std::nullopt;
}

Site read_site(const fs::path& file) { return SiteReader(file).read(); }

}  // namespace muster::launcher
