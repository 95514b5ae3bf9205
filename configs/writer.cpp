// The table, written out: a config as YAML, and the manual of keys.
#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "configs/config.h"
#include "configs/fields.h"
#include "configs/rules.h"
#include "configs/value.h"

namespace muster::configs {
namespace {

// Calls heading(depth, name, path) where a section starts and leaf(depth, key, field) for each
// field, in table order.
template <typename Heading, typename Leaf>
void walk_table(Heading heading, Leaf leaf) {
  Strings open;
  for (const Field& field : fields()) {
    Strings parts = split(field.name, '.');
    const std::string key = parts.back();
    parts.pop_back();
    const auto shared = std::ranges::mismatch(open, parts).in2 - parts.begin();
    for (auto i = static_cast<std::size_t>(shared); i < parts.size(); ++i) {
      heading(i, parts[i], join(std::span(parts).first(i + 1), "."));
    }
    leaf(parts.size(), key, field);
    open = parts;
  }
}

std::string with_unit(const Field& field) {
  return allowed(field) + (field.unit.empty() ? "" : " (" + field.unit + ")");
}

std::string plain_text() {
  std::string text;
  walk_table(
      [&](std::size_t depth, const std::string&, const std::string& path) {
        if (depth == 0) text += fmt::format("{}{}\n", text.empty() ? "" : "\n", path);
      },
      [&](std::size_t, const std::string&, const Field& field) {
        text += fmt::format("  {:<36} {}; resume: {}\n      {}\n", field.name, with_unit(field),
                            name_of(field.resume), field.meaning);
      });
  text += "\ntogether\n";
  for (const Rule& rule : rules())
    text += fmt::format("  {:<36} {}\n", rule.keys[0], rule.statement);
  return text;
}

constexpr std::string_view kPreface = R"(# Settings

Made from the table in `configs/fields_*.cpp` by `MUSTER_UPDATE_DOCS=1 build/test_configs`; do not edit.

- There are no defaults. A missing key, an unknown key, a wrong type or a value out of range stops the run before any
  rank starts; all problems are reported at once, each with file and line.
- `extends: other.yaml` (or a list), relative to the file that says it, reads the other file first; later files replace
  earlier ones key by key. A map such as `tokens.expected` is one key, replaced whole. A file that is reached twice
  counts where it is first reached.
- `--set key.path=value` comes last. The value is YAML: `--set run.seed=7`, `--set 'model.path=[a, b]'`,
  `--set 'data.val=""'`.
- `data.train` and `data.val` take a path, or a list of packs: `[{pack: a.h5, weight: 2}, {pack: b.h5, weight: 0.5}]`.
- Only `true` and `false` are bools. An integer is written in decimal digits, or with an exponent where the value is
  whole (`1e6`); no quotes, no leading zeros, no `1.0`. A string may be any scalar, so `OMP_NUM_THREADS: 1` needs no
  quotes; an empty one is written `""`. A single string will do for a list of strings.
- Paths are relative to the folder the command is run in.
- `resume` says what a changed value means for a run that continues from a checkpoint ([resume.md](resume.md)): `free`
  takes effect; `told` takes effect and is printed and recorded; `epoch` is refused inside an epoch; `never` is refused.
)";

// Pipes separate columns in a Markdown table.
std::string cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  return text;
}

std::string markdown_text() {
  std::string text(kPreface);
  walk_table(
      [&](std::size_t depth, const std::string&, const std::string& path) {
        if (depth > 0) return;
        text += fmt::format(
            "\n## {}\n| key | allowed | unit | meaning | resume |\n|---|---|---|---|---|\n", path);
      },
      [&](std::size_t, const std::string&, const Field& field) {
        text += fmt::format("| `{}` | {} | {} | {} | {} |\n", field.name, cell(allowed(field)),
                            cell(field.unit), cell(field.meaning), name_of(field.resume));
      });
  text += "\n## Together\nBroken, these stop the run:\n\n| key | rule |\n|---|---|\n";
  for (const Rule& rule : rules())
    text += fmt::format("| `{}` | {} |\n", rule.keys[0], cell(rule.statement));
  text += "\nBroken, these are warned about:\n\n| key | rule |\n|---|---|\n";
  for (const Rule& rule : advice())
    text += fmt::format("| `{}` | {} |\n", rule.keys[0], cell(rule.statement));
  return text;
}

}  // namespace

std::string to_yaml(const Config& config) {
  const auto indent = [](std::size_t depth) { return std::string(2 * depth, ' '); };
  std::string text;
  walk_table([&](std::size_t depth, const std::string& name,
                 const std::string&) { text += indent(depth) + name + ":\n"; },
             [&](std::size_t depth, const std::string& key, const Field& field) {
               text += fmt::format("{}{}: {}\n", indent(depth), key, to_text(field.get(config)));
             });
  return text;
}

std::string pack_names(const std::vector<PackShare>& packs) {
  Strings names;
  for (const PackShare& share : packs) names.push_back(share.pack);
  return join(names, ", ");
}

std::vector<std::filesystem::path> pack_files(const std::vector<PackShare>& packs) {
  std::vector<std::filesystem::path> files;
  for (const PackShare& share : packs) files.emplace_back(share.pack);
  return files;
}

std::string describe_fields(bool markdown) { return markdown ? markdown_text() : plain_text(); }

}  // namespace muster::configs
