// muster look PACK|CONFIG|RUN_DIR writes a page of pictures with their boxes, or the same as JSON.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <array>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "configs/config.h"
#include "launcher/commands/command_table.h"
#include "launcher/look/batch_view.h"
#include "launcher/look/pack_view.h"
#include "launcher/look/run_view.h"

namespace muster::launcher {
namespace {

using nlohmann::ordered_json;

struct LookArguments {
  std::string what;
  std::string out;
  std::vector<std::string> overrides;
  LookOptions options;
  bool no_duplicates = false;
  bool json = false;
};

enum class Kind { kPack, kConfig, kRun };

bool starts_as_hdf5(const fs::path& file) {
  constexpr std::array<char, 4> kMagic{'\x89', 'H', 'D', 'F'};
  std::array<char, 4> first{};
  std::ifstream stream(file, std::ios::binary);
  return stream.read(first.data(), first.size()) && first == kMagic;
}

Kind kind_of(const fs::path& what) {
  if (!fs::exists(what))
    throw UsageError(
        fmt::format("look: {}: not there; give a pack, a config or a run folder", what.string()));
  if (fs::is_directory(what)) {
    if (fs::exists(what / "config.yaml")) return Kind::kRun;
    throw UsageError(
        fmt::format("look: {}: no config.yaml in it, so it is no run folder; for "
                    "annotated pictures make a pack first: `muster pack {} -o OUT.h5`",
                    what.string(), what.string()));
  }
  const std::string extension = lower_extension(what);
  if (extension == ".h5" || starts_as_hdf5(what)) return Kind::kPack;
  if (extension == ".yaml" || extension == ".yml") return Kind::kConfig;
  throw UsageError(
      fmt::format("look: {}: neither a pack (HDF5) nor a config (.yaml); for "
                  "annotations make a pack first: `muster pack {} -o OUT.h5`",
                  what.string(), what.string()));
}

View view_of(const LookArguments& arguments, Kind kind) {
  if (kind != Kind::kConfig && !arguments.overrides.empty())
    throw UsageError("look: --set goes with a config; this is a pack or a run folder");
  switch (kind) {
    case Kind::kPack: return look_at_pack(arguments.what, arguments.options);
    case Kind::kRun: return look_at_run(arguments.what, arguments.options);
    case Kind::kConfig: break;
  }
  return look_at_batches(arguments.what, configs::load(arguments.what, arguments.overrides),
                         arguments.options);
}

std::string line_of(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// One sample a line, so that a million of them need no more memory than one.
void print_json(const View& view) {
  std::string facts = line_of(view.facts);
  facts.pop_back();  // its closing brace
  fmt::print("{}, \"samples\": [", facts);
  for (std::int64_t k = 0; k < view.num_samples; ++k)
    fmt::print("{}\n{}", k == 0 ? "" : ",", line_of(view.sample(k)));
  fmt::print("\n]}}\n");
}

// RUN_DIR/look.html, or beside PACK.h5 or CONFIG.yaml as PACK.look.html.
fs::path default_page(const fs::path& what, Kind kind) {
  if (kind == Kind::kRun) return what / "look.html";
  return fs::path(what).replace_extension(".look.html");
}

void write_page(const LookArguments& arguments, Kind kind, const View& view) {
  const fs::path page =
      arguments.out.empty() ? default_page(arguments.what, kind) : fs::path(arguments.out);
  const std::string html = trainer::render_gallery(view.page());
  try {
    write_text(page, html);
  } catch (const IoError& error) {
    throw IoError(fmt::format("{}; -o PAGE.html writes it elsewhere", error.what()));
  }
  if (arguments.json) {
    fmt::print(stderr, "{}\n", page.string());
  } else {
    fmt::print("{}\n", page.string());
  }
}

void look(LookArguments arguments) {
  arguments.options.duplicates = !arguments.no_duplicates;
  const Kind kind = kind_of(arguments.what);
  const View view = view_of(arguments, kind);
  if (arguments.json) print_json(view);
  if (!arguments.json || !arguments.out.empty()) write_page(arguments, kind, view);
}

}  // namespace

void add_look(CommandLine& cli) {
  CLI::App& command = add_command(
      cli, "look", "a page of pictures with boxes: a pack, what a config trains on, a run's errors",
      {"muster look train.h5", "muster look configs/demo.yaml -o batches.html",
       "muster look runs/demo -n 200", "muster look train.h5 --json --sample 17"});
  const auto arguments = std::make_shared<LookArguments>();
  command
      .add_option("PACK|CONFIG|RUN_DIR", arguments->what,
                  "a pack shows its odd samples; a config its first batches as trained; a run "
                  "its predictions beside the truth of data.val")
      ->required();
  command.add_option("-o,--out", arguments->out,
                     "the page; beside what is looked at when not given");
  command
      .add_option("-n,--first", arguments->options.first,
                  "samples from the start; as many as suit when not given")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--sample", arguments->options.samples,
                  "this sample alone, by number from 0 or by name; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--set", arguments->overrides, "key.path=value, over the file's; may be repeated")
      ->allow_extra_args(false);
  command.add_flag("--no-duplicates", arguments->no_duplicates,
                   "do not compare a pack's pictures with each other, which decodes all");
  command.add_flag("--json", arguments->json, "one JSON object on stdout; the page only with -o");
  command.callback([arguments] { look(*arguments); });
}

}  // namespace muster::launcher
