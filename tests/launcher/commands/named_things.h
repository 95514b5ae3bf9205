// Documents and sources name commands, options, settings, metrics, diary rows and files; this finds
// those that do not exist.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace muster::test {

struct Document {
  enum class Kind {
    kMarkdown,  // names stand in backticks, fences and links
    kSource,    // names stand in comments and in backticks of literals
    kScript,    // shell and YAML: commands stand bare
    kHelp,      // one text of `--help`: settings stand bare
    kExample,   // one command line
  };
  std::string name;  // its path in the repository, or where else it stands
  std::string text;
  Kind kind;
};

// Returns every document of the repository, and every text that `app` shows.
std::vector<Document> all_documents(const std::filesystem::path& root, const CLI::App& app);

class NamedThings {
 public:
  // REQUIRES that `app` outlives this object.
  NamedThings(const CLI::App& app, std::filesystem::path root);

  // Returns one line each, "docs/x.md: L-199: no such row"; none when all exist.
  std::vector<std::string> mistakes(const Document& document) const;

 private:
  using Problems = std::vector<std::string>;

  void check_markdown(const Document& document, Problems& problems) const;
  void check_source(const Document& document, Problems& problems) const;
  void check_script(const Document& document, Problems& problems) const;
  void check_link(const Document& document, const std::string& target, Problems& problems) const;
  // A span is what stands in backticks: `muster launch`, `run.dir`, `tests/base`, `--fresh`.
  void check_span(const std::string& span, Problems& problems) const;
  // A line may hold commands: it is one of a fence, or an example.
  void check_line(const std::string& line, Problems& problems) const;
  void check_commands(const std::string& text, Problems& problems) const;
  void check_run_script(const std::string& text, Problems& problems) const;
  void check_programs(const std::string& text, Problems& problems) const;
  void check_overrides(const std::string& text, Problems& problems) const;
  void check_lone_options(const std::string& text, Problems& problems) const;
  // Help and messages name settings without backticks.
  void check_bare_settings(const std::string& text, Problems& problems) const;
  void check_setting_or_metric(const std::string& name, Problems& problems) const;
  void check_path(std::string path, Problems& problems) const;
  void check_paths(const std::string& text, Problems& problems) const;
  void check_diary_rows(const std::string& text, Problems& problems) const;
  void check_file_names(const std::string& text, Problems& problems) const;

  const CLI::App& app_;
  std::filesystem::path root_;
  std::set<std::string> file_names_;       // of the repository, without folders
  std::set<std::string> options_;          // of any command, of `run` and of the benchmarks
  std::set<std::string> run_commands_;     // of `run`
  std::set<std::string> sections_;         // of the config
  std::set<std::string> metric_families_;  // "loss", "lr", ...
  std::set<std::string> metrics_;
  std::set<std::string> diary_rows_;  // "T-004", also those that the roadmap promises
  std::string cmake_;
};

}  // namespace muster::test
