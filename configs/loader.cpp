#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "base/yaml/yaml.h"
#include "configs/config.h"
#include "configs/fields.h"
#include "configs/rules.h"
#include "configs/source.h"
#include "configs/value.h"

namespace muster::configs {
namespace {

// Finds what the user may have meant: a neighbour in the same section, else a near full name, else
// the same key in another section.
std::string suggest(const std::string& section, const std::string& key) {
  const std::string prefix = section.empty() ? "" : section + ".";
  if (const std::string near = nearest_name(key, keys_under(section)); !near.empty())
    return prefix + near;
  Strings names;
  Strings elsewhere;
  for (const Field& field : fields()) {
    names.push_back(field.name);
    if (field.name.ends_with("." + key)) elsewhere.push_back(field.name);
  }
  const std::string near = nearest_name(prefix + key, names);
  return near.empty() && elsewhere.size() == 1 ? elsewhere[0] : near;
}

bool is_path(const std::string& key) { return key.find('.') != std::string::npos; }

std::string hint(const std::string& section, const std::string& key) {
  if (is_path(key) && (find_field(key) != nullptr || is_section(key)))
    return ": write sections as nested maps";
  if (find_field(section) != nullptr) return ": " + section + " is one key, given whole";
  const std::string near = suggest(section, key);
  return near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near);
}

std::string rule_text(const Rule& rule, const Config& config) {
  Strings got;
  for (const std::string& key : rule.keys)
    got.push_back(key + " = " + to_text(find_field(key)->get(config)));
  return fmt::format("{}, got {}", rule.statement, join(got, ", "));
}

class Loader {
 public:
  explicit Loader(const std::filesystem::path& file)
      : main_(file.string()), chain_(read_chain(file, problems_)) {
    for (const Source& source : chain_.sources) walk({source.file}, "", source.root);
  }

  void override_with(const std::string& assignment) {
    const std::size_t equals = assignment.find('=');
    const std::string key = assignment.substr(0, equals);
    const Origin origin{.file = "", .command_line = true};
    if (equals == std::string::npos)
      return complain(origin, 0, key, "expected key.path=value, got no '='");
    try {
      const std::vector<YAML::Node> parsed = parse_yaml(assignment.substr(equals + 1));
      if (parsed.size() > 1) return complain(origin, 0, key, "expected one YAML value");
      const std::size_t dot = key.rfind('.');
      const std::string section = dot == std::string::npos ? "" : key.substr(0, dot);
      accept(origin, 0, section, key.substr(dot + 1), parsed.empty() ? YAML::Node() : parsed[0]);
    } catch (const YAML::Exception& error) {
      complain(origin, 0, key,
               fmt::format("malformed YAML: {}, got {}", error.msg, assignment.substr(equals + 1)));
    }
  }

  Config finish() {
    Config config{};
    for (const Field& field : fields()) assign(field, config);
    for (const Rule& rule : rules()) check(rule, config);
    if (!problems_.empty()) throw ConfigError(join(problems_, "\n"));
    return config;
  }

 private:
  struct Origin {
    std::string file;
    bool command_line = false;
  };
  struct Entry {
    Origin origin;
    YAML::Node node;
  };

  void complain(const Origin& origin, int line, const std::string& key, const std::string& what) {
    const std::string place =
        origin.command_line ? "--set " : fmt::format("{}:{}: ", origin.file, line);
    problems_.push_back(fmt::format("{}{}: {}", place, key, what));
  }

  // Takes every key of a section. The newest value of a key wins: sources come in order.
  void walk(const Origin& origin, const std::string& section, const YAML::Node& map) {
    const std::string here = section.empty() ? "file" : section;
    for (const Complaint& complaint : duplicate_keys(map))
      complain(origin, complaint.line, here, complaint.what);
    for (const auto& pair : map) {
      const int line = line_of(pair.first);
      if (!pair.first.IsScalar())
        complain(origin, line, here, "expected a key, got " + spelled(pair.first));
      else if (section.empty() && pair.first.Scalar() == "extends")
        continue;
      else
        accept(origin, line, section, pair.first.Scalar(), pair.second);
    }
  }

  void accept(const Origin& origin, int line, const std::string& section, const std::string& key,
              const YAML::Node& value) {
    const std::string name = section.empty() ? key : section + "." + key;
    if (find_field(name) != nullptr && !is_path(key)) {
      entries_[name] = {origin, value};
      replace_other_way(name);
    } else if (is_path(key) || !is_section(name)) {
      complain(origin, line, name, "unknown key" + hint(section, key));
    } else {
      if (origin.file == main_) section_lines_[name] = line;
      if (value.IsMap())
        walk(origin, name, value);
      else if (!value.IsNull())
        complain(origin, line, name, section_expected(name, value));
    }
  }

  // What an earlier source said of the other of two keys that are one choice is null from here on.
  void replace_other_way(const std::string& name) {
    const Entry& said = entries_.at(name);
    if (said.node.IsNull()) return;
    const auto other = entries_.find(find_field(name)->other_way);
    if (other == entries_.end()) return;
    const Origin& before = other->second.origin;
    const bool earlier = said.origin.command_line || before.file != said.origin.file;
    if (earlier) other->second = {said.origin, YAML::Node()};
  }

  static std::string section_expected(const std::string& name, const YAML::Node& value) {
    return fmt::format("expected a section, got {}, allowed a map of {}", spelled(value),
                       join(keys_under(name), ", "));
  }

  void assign(const Field& field, Config& config) {
    const auto entry = entries_.find(field.name);
    if (entry == entries_.end()) return missing(field);
    std::vector<Complaint> complaints;
    const auto value = parse_value(field, entry->second.node, complaints);
    for (const Complaint& complaint : complaints) {
      complain(entry->second.origin, complaint.line, field.name, complaint.what);
    }
    if (!value) return;
    field.set(config, *value);
    valid_.insert(field.name);
  }

  // Complains at the line of the key's section in the main file, and not at all when a file of the
  // chain is itself missing.
  void missing(const Field& field) {
    if (!chain_.whole) return;
    int line = 1;
    for (std::string section = field.name; section.find('.') != std::string::npos;) {
      section.resize(section.rfind('.'));
      const auto found = section_lines_.find(section);
      if (found == section_lines_.end()) continue;
      line = found->second;
      break;
    }
    Strings files;
    for (const Source& source : chain_.sources) files.push_back(source.file);
    complain({main_}, line, field.name,
             fmt::format("missing key, not in {}, allowed {}; meaning: {}", join(files, " or "),
                         allowed(field), field.meaning));
  }

  void check(const Rule& rule, const Config& config) {
    const bool readable =
        std::ranges::all_of(rule.keys, [this](const auto& key) { return valid_.contains(key); });
    if (!readable || rule.kept(config)) return;
    const std::string& blamed = newest(rule.keys);
    const Entry& entry = entries_.at(blamed);
    const std::string subject =
        entry.origin.command_line && blamed != rule.keys[0] ? rule.keys[0] + " " : "";
    complain(entry.origin, line_of(entry.node), entry.origin.command_line ? blamed : rule.keys[0],
             subject + rule_text(rule, config));
  }

  // Picks the key of a broken rule to change: one given on the command line, else one in the main
  // file, else the first.
  const std::string& newest(const Strings& keys) const {
    const auto from = [&](auto chosen) {
      return std::ranges::find_if(keys,
                                  [&](const auto& key) { return chosen(entries_.at(key).origin); });
    };
    if (const auto at = from([](const Origin& o) { return o.command_line; }); at != keys.end())
      return *at;
    if (const auto at = from([this](const Origin& o) { return o.file == main_; }); at != keys.end())
      return *at;
    return keys[0];
  }

  std::vector<std::string> problems_;
  std::string main_;
  Chain chain_;
  std::map<std::string, Entry> entries_;      // by field name
  std::map<std::string, int> section_lines_;  // in the main file
  std::set<std::string> valid_;               // fields that hold a value
};

}  // namespace

Config load(const std::filesystem::path& file, std::span<const std::string> overrides) {
  Loader loader(file);
  for (const std::string& assignment : overrides) loader.override_with(assignment);
  return loader.finish();
}

std::vector<std::string> warnings(const Config& config) {
  std::vector<std::string> found;
  for (const Rule& rule : advice()) {
    if (!rule.kept(config)) found.push_back(rule.keys[0] + ": " + rule_text(rule, config));
  }
  return found;
}

}  // namespace muster::configs
