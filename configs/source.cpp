#include "configs/source.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/source_files.h"
#include "base/text.h"
#include "base/yaml/yaml.h"
#include "configs/value.h"

namespace muster::configs {
namespace {

// Names a file of the same folder whose name is near, for "did you mean".
std::string nearest_sibling(const fs::path& file) {
  std::vector<std::string> names;
  std::error_code ignored;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : ".";
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);  // the folder's order is arbitrary
  const std::string name = nearest_name(file.filename().string(), names);
  return name.empty() ? ""
                      : fmt::format(" (did you mean '{}'?)", (file.parent_path() / name).string());
}

// What a file extends lies beside it, or is shipped: `extends: base.yaml` works in any folder.
fs::path beside_or_shipped(const fs::path& file, const std::string& name) {
  fs::path beside = (file.parent_path() / name).lexically_normal();
  std::error_code ignored;
  if (fs::path(name).is_absolute() || fs::exists(beside, ignored)) return beside;
  for (const fs::path& known : {fs::path(name), "configs" / fs::path(name)})
    if (const auto shipped = shipped_path(known)) return *shipped;
  return beside;
}

class ChainReader {
 public:
  explicit ChainReader(std::vector<std::string>& problems) : problems_(problems) {}

  // `cause`: "file:line: extends: " of the file that asks for this one, or "file: " of the first.
  void read(const fs::path& file, const std::string& cause) {
    const fs::path identity = fs::weakly_canonical(file);
    if (std::ranges::find(open_, identity) != open_.end())
      return fail(cause + "cycle: " + cycle_to(identity));
    if (std::ranges::find(done_, identity) != done_.end()) return;
    const auto root = parse(file, cause);
    if (!root) return;
    open_.push_back(identity);
    for (const auto& [name, line] : extended(file, *root)) {
      read(beside_or_shipped(file, name), fmt::format("{}:{}: extends: ", file.string(), line));
    }
    open_.pop_back();
    done_.push_back(identity);
    chain_.sources.push_back({file.string(), *root});
  }

  Chain take() { return std::move(chain_); }

 private:
  struct Extended {
    std::string name;
    int line;
  };

  void fail(const std::string& problem) {
    problems_.push_back(problem);
    chain_.whole = false;
  }

  std::string cycle_to(const fs::path& identity) const {
    std::string text;
    for (auto at = std::ranges::find(open_, identity); at != open_.end(); ++at)
      text += at->filename().string() + " -> ";
    return text + identity.filename().string();
  }

  std::optional<YAML::Node> parse(const fs::path& file, const std::string& cause) {
    try {
      if (!fs::exists(file)) {
        fail(fmt::format("{}no such file: {}{}", cause, file.string(), nearest_sibling(file)));
        return std::nullopt;
      }
      if (fs::is_directory(file)) {
        fail(fmt::format("{}a folder, not a YAML file: {}", cause, file.string()));
        return std::nullopt;
      }
      return only_map(file, parse_yaml(read_text(file)));
    } catch (const YAML::Exception& error) {
      fail(fmt::format("{}:{}: malformed YAML at column {}: {}", file.string(), error.mark.line + 1,
                       error.mark.column + 1, error.msg));
    } catch (const IoError& error) {
      fail(cause + error.what());
    }
    return std::nullopt;
  }

  std::optional<YAML::Node> only_map(const fs::path& file,
                                     const std::vector<YAML::Node>& documents) {
    if (documents.empty() || (documents.size() == 1 && documents[0].IsNull()))
      return YAML::Node(YAML::NodeType::Map);
    if (documents.size() == 1 && documents[0].IsMap()) return documents[0];
    if (documents.size() == 1) {
      fail(fmt::format("{}:{}: expected a map of sections, got {}", file.string(),
                       line_of(documents[0]), spelled(documents[0])));
    } else {
      fail(fmt::format("{}:{}: expected one YAML document, got {}", file.string(),
                       line_of(documents[1]), documents.size()));
    }
    return std::nullopt;
  }

  std::vector<Extended> extended(const fs::path& file, const YAML::Node& root) {
    const YAML::Node value = root["extends"];
    if (!value.IsDefined()) return {};
    std::vector<Extended> found;
    const auto take = [&](const YAML::Node& item) {
      if (item.IsScalar() && !item.Scalar().empty()) {
        found.push_back({item.Scalar(), line_of(item)});
      } else {
        fail(fmt::format("{}:{}: extends: expected a file name or a list of them, got {}",
                         file.string(), line_of(item), spelled(item)));
      }
    };
    if (value.IsSequence()) {
      for (const YAML::Node& item : value) take(item);
    } else {
      take(value);
    }
    return found;
  }

  std::vector<std::string>& problems_;
  Chain chain_;
  std::vector<fs::path> open_;  // files being read, the outermost first
  std::vector<fs::path> done_;
};

}  // namespace

Chain read_chain(const std::filesystem::path& file, std::vector<std::string>& problems) {
  ChainReader reader(problems);
  reader.read(given_or_shipped(file), file.string() + ": ");
  return reader.take();
}

}  // namespace muster::configs
