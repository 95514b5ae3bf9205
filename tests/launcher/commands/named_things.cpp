#include "launcher/commands/named_things.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>

#include "base/files.h"
#include "base/pattern.h"
#include "base/text.h"
#include "configs/fields.h"
#include "launcher/front/command_line.h"
#include "trainer/loss_terms.h"
#include "trainer/show/metric_names.h"

namespace muster::test {
namespace {

// Names mind case, and so do the expressions that find them.
Pattern written(const std::string& expression) {
  return Pattern(expression, Pattern::Letters::kAsWritten);
}

constexpr const char* kFolders =
    "(?:\\.ci|base|bench|cmake|configs|data|docs|launcher|model|packaging|scripts|sharding|slurm|"
    "tests|trainer)";
constexpr const char* kEndings =
    R"(\.(?:cpp|h|cu|cuh|md|sh|py|yaml|sbatch|def|cmake|supp|svg|json))";

// Our texts name these options of other programs and of our rank tests.
constexpr std::array<std::string_view, 22> kForeignOptions = {
    "--host",       "--map-by",     "--bind-to",       "--oversubscribe",   "--exclusive",
    "--mem",        "--mpi",        "--cpus-per-task", "--ntasks-per-node", "--cpu-bind",
    "--nodelist",   "--signal",     "--tool",          "--container-image", "--comment",
    "--parsable",   "--no-requeue", "--requeue",       "--world",           "--qos",
    "--constraint", "--mail-type"};

// Our comments name these headers of libraries.
constexpr std::array<std::string_view, 8> kForeignFiles = {
    "mpi.h", "nccl.h", "hdf5.h", "ATen.h", "torch.h", "jpeglib.h", "ft2build.h", "hwcap.h"};

bool is_placeholder(const std::string& word) {
  static const Pattern capitals = written(R"(^[A-Z_]{2,}\b|^X\b|[<>*{]|\.\.\.)");
  return capitals.found_in(word);
}

// Returns what a person wrote, so neither the build tree nor runs.
std::vector<fs::path> repository_files(const fs::path& root) {
  static const Pattern ours = written(std::string("^(?:") + kFolders + R"(/|[^/]+$))");
  std::vector<fs::path> files;
  for (const auto& top : fs::directory_iterator(root)) {
    const std::string name = top.path().filename().string();
    if (top.is_regular_file()) files.push_back(name);
    if (!top.is_directory() || !ours.found_in(name + "/")) continue;
    for (const auto& entry : fs::recursive_directory_iterator(top.path()))
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), root));
  }
  std::ranges::sort(files);
  return files;
}

std::optional<Document::Kind> kind_of(const fs::path& file) {
  const std::string extension = file.extension().string();
  if (extension == ".md") return Document::Kind::kMarkdown;
  if (extension == ".cpp" || extension == ".h" || extension == ".cu" || extension == ".cuh")
    return Document::Kind::kSource;
  if (extension == ".sh" || extension == ".yaml" || extension == ".sbatch" || file == "run")
    return Document::Kind::kScript;
  return std::nullopt;
}

void add_help(const CLI::App& command, std::vector<Document>& documents) {
  const std::string where = "help of " + command.get_name();
  documents.push_back({where, command.get_description(), Document::Kind::kHelp});
  for (const CLI::Option* option : command.get_options())
    documents.push_back({where, option->get_description(), Document::Kind::kHelp});
  for (const std::string& example : launcher::examples_of(command))
    documents.push_back({where, example, Document::Kind::kExample});
}

// Joins comments and literals that go on over several lines, each into one line.
std::string unwrapped(const std::string& source) {
  static const Pattern wrapped = written(R"(\n[ \t]*// ?|"[ \t]*\n[ \t]*")");
  std::string text;
  std::size_t from = 0;
  for (const Pattern::Match& match : wrapped.all_in(source)) {
    text += source.substr(from, match.begin - from);
    if (source[match.begin] == '\n') text += ' ';
    from = match.end;
  }
  return text + source.substr(from);
}

// Returns the anchor that a link to a heading has.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char c : heading) {
    if (c == ' ')
      anchor += '-';
    else if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_')
      anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return anchor;
}

bool has_heading(const std::string& markdown, const std::string& anchor) {
  static const Pattern heading = written(R"((?:^|\n)#+ ([^\n]*))");
  return std::ranges::any_of(heading.all_in(markdown), [&](const Pattern::Match& match) {
    return anchor_of(match.text(1)) == anchor;
  });
}

// Returns every word that looks like a long option.
std::set<std::string> options_in(const std::string& text) {
  static const Pattern option = written(R"(--[a-z][a-z0-9-]+)");
  std::set<std::string> options;
  for (const Pattern::Match& match : option.all_in(text)) options.insert(match.text(0));
  return options;
}

// Returns what may follow the dot of a family. The meaning in the table lists the members that have
// no table of their own.
std::vector<std::string> members_of(const trainer::MetricEntry& family) {
  static const Pattern listed = written("`([A-Za-z_0-9]+)`");
  std::vector<std::string> members;
  if (family.member == "<group>") return configs::keys_under("groups");
  if (family.member == "<term>") {
    const trainer::LossTerms terms{configs::Loss{}, configs::Labels::kOpen};
    for (std::int64_t i = 0; i < terms.size(); ++i) members.push_back(terms.name(i));
    return members;
  }
  if (family.member.find('<') == std::string_view::npos) return {std::string(family.member)};
  const std::string meaning(family.meaning);
  for (const Pattern::Match& match : listed.all_in(meaning)) members.push_back(match.text(1));
  return members;
}

// Returns every name with a dot that metrics.jsonl can have.
std::set<std::string> metric_names() {
  std::set<std::string> names;
  for (const trainer::MetricEntry& entry : trainer::kMetrics) {
    // `eval.text.` of `eval.text.<metric>`: a family within a family has a name, too.
    const std::string family(entry.name.substr(0, entry.name.rfind('.')));
    if (family.find('.') != std::string::npos) names.insert(family);
    if (entry.member.empty()) continue;
    for (const std::string& member : members_of(entry))
      names.insert(std::string(entry.name) + member);
  }
  return names;
}

}  // namespace

std::vector<Document> all_documents(const fs::path& root, const CLI::App& app) {
  std::vector<Document> documents;
  for (const fs::path& file : repository_files(root)) {
    if (file == "tests/launcher/commands/docs_test.cpp") continue;  // wrong on purpose
    if (const auto kind = kind_of(file))
      documents.push_back({file.string(), read_text(root / file), *kind});
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    add_help(*command, documents);
  return documents;
}

NamedThings::NamedThings(const CLI::App& app, fs::path root) : app_(app), root_(std::move(root)) {
  for (const fs::path& file : repository_files(root_)) file_names_.insert(file.filename().string());
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames()) options_.insert("--" + name);
  const std::string run = read_text(root_ / "run");
  options_.merge(options_in(run));
  for (const auto& entry : fs::directory_iterator(root_ / "bench"))
    if (entry.is_regular_file()) options_.merge(options_in(read_text(entry.path())));
  options_.insert(kForeignOptions.begin(), kForeignOptions.end());
  if (const auto list = written(R"(kCommands=\(([^)]*)\))").first_in(run))
    for (const std::string& word : split(list->text(1), ' ')) run_commands_.insert(word);
  for (const std::string& section : configs::keys_under("")) sections_.insert(section);
  static const Pattern row = written(R"((?:\n\| |, |: )([A-Z]-\d{3}))");
  const std::string rows =
      read_text(root_ / "DEBUG_DIARY.md") + read_text(root_ / "docs/roadmap.md");
  for (const Pattern::Match& match : row.all_in(rows)) diary_rows_.insert(match.text(1));
  metrics_ = metric_names();
  for (const std::string& metric : metrics_)
    metric_families_.insert(metric.substr(0, metric.find('.')));
  cmake_ = read_text(root_ / "CMakeLists.txt") + read_text(root_ / "tests/CMakeLists.txt");
}

std::vector<std::string> NamedThings::mistakes(const Document& document) const {
  Problems problems;
  switch (document.kind) {
    case Document::Kind::kMarkdown: check_markdown(document, problems); break;
    case Document::Kind::kSource: check_source(document, problems); break;
    case Document::Kind::kScript: check_script(document, problems); break;
    case Document::Kind::kHelp:
      check_bare_settings(document.text, problems);
      check_paths(document.text, problems);
      break;
    case Document::Kind::kExample: check_line(document.text, problems); break;
  }
  for (std::string& problem : problems) problem.insert(0, document.name + ": ");
  return problems;
}

void NamedThings::check_markdown(const Document& document, Problems& problems) const {
  static const Pattern inline_span = written("`([^`]+)`");
  static const Pattern link = written(R"(\]\(([^)\s]+)\))");
  std::string prose;
  bool in_fence = false;
  std::istringstream lines(document.text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```"))
      in_fence = !in_fence;
    else if (in_fence)
      check_line(line, problems);
    else
      prose += line.empty() ? "`\n`" : line + " ";  // no span goes on over an empty line
  }
  check_diary_rows(prose, problems);
  std::string outside;  // an expression in a span may look like a link
  std::size_t from = 0;
  for (const Pattern::Match& match : inline_span.all_in(prose)) {
    if (match.text(1) != "\n") check_span(match.text(1), problems);
    outside += prose.substr(from, match.begin - from);
    from = match.end;
  }
  outside += prose.substr(from);
  for (const Pattern::Match& match : link.all_in(outside))
    check_link(document, match.text(1), problems);
}

void NamedThings::check_link(const Document& document, const std::string& target,
                             Problems& problems) const {
  if (target.find("://") != std::string::npos) return;
  const std::size_t hash = target.find('#');
  const std::string file = target.substr(0, hash);
  const fs::path here = root_ / document.name;
  const fs::path there = file.empty() ? here : here.parent_path() / file;
  if (!file.empty() && !fs::exists(there)) {
    problems.push_back(fmt::format("link {}: no such file", target));
    return;
  }
  if (hash == std::string::npos) return;
  if (!has_heading(file.empty() ? document.text : read_text(there), target.substr(hash + 1)))
    problems.push_back(fmt::format("link {}: no such heading", target));
}

void NamedThings::check_source(const Document& document, Problems& problems) const {
  static const Pattern span = written(R"(`([^`\n"]{2,120})`)");
  static const Pattern literal = written(R"re((?<!\w)"((?:[^"\\\n]|\\.)*)")re");
  static const Pattern comment = written(R"(//[^\n]*)");
  static const Pattern elsewhere = written(R"(\b(?:DESIGN|FAILURES|STYLE)\b)");
  const std::string text = unwrapped(document.text);
  for (const Pattern::Match& match : span.all_in(text)) check_span(match.text(1), problems);
  if (!document.name.starts_with("tests/"))  // which name wrong ones on purpose
    for (const Pattern::Match& match : literal.all_in(text))
      check_bare_settings(match.text(1), problems);
  for (const Pattern::Match& match : comment.all_in(text)) {
    const std::string words = match.text(0);
    if (words.starts_with("// muster ")) check_commands(words, problems);
    check_paths(words, problems);
    check_file_names(words, problems);
    check_diary_rows(words, problems);
    if (const auto other = elsewhere.first_in(words))
      problems.push_back(fmt::format("{}: no such file in a clone", other->text(0)));
  }
}

void NamedThings::check_script(const Document& document, Problems& problems) const {
  // `"$muster" pack`, `build/muster pack`, or an example that is indented in a comment.
  static const Pattern call = written(R"((?:\$\{?muster\}?"?|build/muster|^#  +muster) [a-z].*)");
  std::istringstream lines(document.text);
  for (std::string line; std::getline(lines, line);) {
    if (const auto match = call.first_in(line)) check_commands(match->text(0), problems);
    check_run_script(line, problems);
    check_overrides(line, problems);
    check_paths(line, problems);
  }
}

void NamedThings::check_bare_settings(const std::string& text, Problems& problems) const {
  static const Pattern dotted =
      written(R"((?<![\w./-])[a-z]+\.[a-z_][a-z_0-9.]*[a-z_0-9](?![\w(]))");
  for (const Pattern::Match& match : dotted.all_in(text)) {
    const std::string name = match.text(0);
    if (sections_.contains(name.substr(0, name.find('.')))) check_setting_or_metric(name, problems);
  }
}

void NamedThings::check_span(const std::string& span, Problems& problems) const {
  static const Pattern setting = written(R"(^[a-z_]+\.[A-Za-z_0-9.]*[A-Za-z_0-9])");
  static const Pattern guard = written(R"(^(?:test|check):)");
  static const Pattern whole_path = written(std::string("^") + kFolders + R"(/[\w./{},*-]*$)");
  check_line(span, problems);
  check_lone_options(span, problems);
  if (const auto name = setting.first_in(span)) check_setting_or_metric(name->text(0), problems);
  const auto prefix = guard.first_in(span);
  const std::string place = span.substr(prefix ? prefix->end : 0);
  if (whole_path.found_in(place.substr(0, place.find('#')))) check_path(place, problems);
  check_file_names(span, problems);
}

void NamedThings::check_line(const std::string& line, Problems& problems) const {
  check_commands(line, problems);
  check_run_script(line, problems);
  check_programs(line, problems);
  check_overrides(line, problems);
  check_paths(line, problems);
}

void NamedThings::check_commands(const std::string& text, Problems& problems) const {
  static const Pattern call =
      written(R"((?:^[#/ ]*|[ (/$]|\$\{?)muster(?:-torch)?"? ([a-z][a-z-]*)([^|;&>#`]*))");
  static const Pattern option = written(R"([ \[](--?[A-Za-z][A-Za-z0-9-]*))");
  for (const Pattern::Match& match : call.all_in(text)) {
    const std::string name = match.text(1);
    const auto commands =
        app_.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
    if (commands.empty()) {
      problems.push_back(fmt::format("`{}`: no such command", match.text(0)));
      continue;
    }
    const std::string rest = match.text(2);
    for (const Pattern::Match& word : option.all_in(rest))
      if (commands.front()->get_option_no_throw(word.text(1)) == nullptr)
        problems.push_back(fmt::format("`muster {} {}`: no such option", name, word.text(1)));
  }
}

void NamedThings::check_run_script(const std::string& text, Problems& problems) const {
  static const Pattern call = written(R"(\./run ([a-z][a-z-]*)(?: ([a-z][a-z_]*))?)");
  for (const Pattern::Match& match : call.all_in(text)) {
    if (!run_commands_.contains(match.text(1)))
      problems.push_back(fmt::format("`{}`: no such command of `run`", match.text(0)));
    if (match.text(1) != "bench" || !match.has(2)) continue;
    if (!fs::exists(root_ / "bench" / (match.text(2) + ".sh")))
      problems.push_back(fmt::format("`{}`: no such benchmark", match.text(0)));
  }
}

void NamedThings::check_programs(const std::string& text, Problems& problems) const {
  static const Pattern program = written(R"((?:^|[ (])build/([a-z_]+(?:-[a-z]+)*)(?=[ `"]|$))");
  for (const Pattern::Match& match : program.all_in(text)) {
    const std::string name = match.text(1);
    const std::string room = name.substr(name.find('_') + 1);
    const bool is_test = name.starts_with("test_") || name.starts_with("ranks_");
    const bool exists = cmake_.find("add_executable(" + name) != std::string::npos ||
                        (is_test && cmake_.find("muster_test(" + room) != std::string::npos);
    const bool is_preset =
        fs::exists(root_ / "CMakePresets.json") &&
        read_text(root_ / "CMakePresets.json").find('"' + name + '"') != std::string::npos;
    if (!exists && !is_preset && !is_placeholder(room))
      problems.push_back(fmt::format("`build/{}`: no such program", name));
  }
}

void NamedThings::check_overrides(const std::string& text, Problems& problems) const {
  static const Pattern override = written(R"(--set '?([a-z_]+(?:\.[a-z_0-9]+)+)=)");
  for (const Pattern::Match& match : override.all_in(text)) {
    if (match.text(1) == "key.path") continue;
    if (configs::find_field(match.text(1)) == nullptr && !configs::is_section(match.text(1)))
      problems.push_back(fmt::format("`--set {}`: no such setting", match.text(1)));
  }
}

void NamedThings::check_lone_options(const std::string& text, Problems& problems) const {
  if (!text.starts_with("--")) return;
  for (const std::string& option : options_in(text))
    if (!options_.contains(option))
      problems.push_back(fmt::format("`{}`: no such option of any command", option));
}

void NamedThings::check_setting_or_metric(const std::string& name, Problems& problems) const {
  static const Pattern file = written(
      R"(\.(?:safetensors|json|jsonl|yaml|h5|hpp|h|cpp|cu|html|log|txt|bin|md|py|so|index)\b)");
  static const Pattern tensor =
      written(R"(^model\.(?:visual|language_model|layers|norm|embed_tokens)\b)");
  const std::string first = name.substr(0, name.find('.'));
  const bool is_setting = sections_.contains(first);
  const bool is_metric = metric_families_.contains(first);
  if (file.found_in(name) || tensor.found_in(name) || metrics_.contains(name)) return;
  if (configs::find_field(name) != nullptr || configs::is_section(name)) return;
  if (is_setting || is_metric)
    problems.push_back(fmt::format("`{}`: no such {}", name, is_setting ? "setting" : "metric"));
}

void NamedThings::check_path(std::string path, Problems& problems) const {
  static const Pattern line_number = written(R"(:\d+$)");
  static const Pattern open_end = written(R"([*{]|[A-Z]{2,}\.|NAME)");
  path = path.substr(0, path.find('#'));
  while (!path.empty() && std::string_view(".,:;)").find(path.back()) != std::string_view::npos)
    path.pop_back();
  if (const auto number = line_number.first_in(path)) path.erase(number->begin);
  if (fs::exists(root_ / path)) return;
  if (const auto open = open_end.first_in(path)) {
    const std::string folder = path.substr(0, path.rfind('/', open->begin));
    if (fs::exists(root_ / folder)) return;
  }
  problems.push_back(fmt::format("`{}`: no such file or folder", path));
}

void NamedThings::check_paths(const std::string& text, Problems& problems) const {
  static const Pattern path = written(std::string(R"((?<![\w./<>~:$}-]))") + kFolders +
                                      R"(/[\w./-]*)" + kEndings + R"((?![\w/]))");
  for (const Pattern::Match& match : path.all_in(text)) check_path(match.text(0), problems);
}

void NamedThings::check_diary_rows(const std::string& text, Problems& problems) const {
  static const Pattern row = written(R"((?<![\w-])[GMPLIWTDR]-\d{3}(?![\w-]))");
  for (const Pattern::Match& match : row.all_in(text))
    if (!diary_rows_.contains(match.text(0)))
      problems.push_back(fmt::format("{}: no such row in DEBUG_DIARY.md", match.text(0)));
}

void NamedThings::check_file_names(const std::string& text, Problems& problems) const {
  static const Pattern name =
      written(R"((?<![\w./<-])[A-Za-z_][A-Za-z_0-9]*\.(?:cpp|h|cu|cuh|md|sh)(?![\w.(]))");
  for (const Pattern::Match& match : name.all_in(text)) {
    const bool foreign = std::ranges::find(kForeignFiles, match.text(0)) != kForeignFiles.end();
    if (!foreign && !file_names_.contains(match.text(0)))
      problems.push_back(fmt::format("`{}`: no file of that name", match.text(0)));
  }
}

}  // namespace muster::test
