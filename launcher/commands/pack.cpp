// muster pack SOURCE -o OUT.h5 makes one validated HDF5 file of annotations and images.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "data/ingest/pack_source.h"
#include "data/sources/sources.h"
#include "launcher/commands/command_table.h"

namespace muster::launcher {
namespace {

namespace fs = std::filesystem;

struct PackCommand {
  std::string source;
  std::string out;
  data::ReadOptions read;
  data::PackOptions pack;
  std::vector<std::string> rename;  // "old=new"
  bool json = false;
};

void print_lines(const char* what, const std::vector<std::string>& lines) {
  constexpr std::size_t kShown = 20;
  for (std::size_t i = 0; i < std::min(kShown, lines.size()); ++i)
    fmt::print(stderr, "{} {}\n", what, lines[i]);
  if (lines.size() > kShown)
    fmt::print(stderr, "{} {} more (--json lists all)\n", what, lines.size() - kShown);
}

void print_file(const fs::path& path) {
  fmt::print(stderr, "{}: {}\n", path.string(),
             human_bytes(static_cast<std::int64_t>(fs::file_size(path))));
}

void print_summary(const PackCommand& command, const std::string& format,
                   const data::PackReport& report) {
  const bool divided = command.pack.val_fraction > 0;
  fmt::print(stderr, "{} ({}): {} samples read, {} {}{}, {} left out\n", command.source, format,
             report.read, report.packed, command.pack.check_only ? "good" : "packed",
             divided ? fmt::format(" and {} for validation", report.val_packed) : "",
             report.left_out.size());
  fmt::print(stderr, "{} pictures, {} objects{}{}\n", report.pictures, report.objects,
             report.crowds > 0 ? fmt::format(", {} of them crowds", report.crowds) : "",
             report.unboxed > 0 ? fmt::format("; {} samples of words alone", report.unboxed) : "");
  for (const auto& [name, count] : report.objects_per_category)
    fmt::print(stderr, "  {:>9}  {}\n", count, name);
  for (const auto& [name, count] : report.other_classes)
    fmt::print(stderr, "  {:>9}  {} (left out)\n", count, name);
  print_lines("left out", report.left_out);
  print_lines("clipped", report.clipped);
  print_lines("dropped", report.dropped_boxes);
  print_lines("turned", report.turned);
  print_lines("repaired", report.repaired);
  print_lines("warning:", report.warnings);
  if (command.pack.check_only) return;
  print_file(command.out);
  if (divided) print_file(data::val_pack_path(command.out));
}

nlohmann::ordered_json counts(const std::vector<std::pair<std::string, std::int64_t>>& pairs) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, count] : pairs) object[name] = count;
  return object;
}

void print_json(const std::string& format, const data::PackReport& report,
                const std::vector<std::string>& faults) {
  const nlohmann::ordered_json all{{"format", format},
                                   {"packed", report.packed},
                                   {"val_packed", report.val_packed},
                                   {"pictures", report.pictures},
                                   {"objects", report.objects},
                                   {"unboxed", report.unboxed},
                                   {"objects_per_category", counts(report.objects_per_category)},
                                   {"other_classes", counts(report.other_classes)},
                                   {"left_out", report.left_out},
                                   {"clipped", report.clipped},
                                   {"dropped_boxes", report.dropped_boxes},
                                   {"turned", report.turned},
                                   {"repaired", report.repaired},
                                   {"warnings", report.warnings},
                                   {"faults", faults}};
  fmt::print("{}\n", all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void split_renames(PackCommand& command) {
  for (const std::string& pair : command.rename) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == pair.size())
      throw UsageError(fmt::format("--rename {}: OLD=NEW is expected", pair));
    command.pack.rename.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
  }
}

// Where the pack will lie there is room; nothing is made there yet for a source that cannot be
// read.
fs::path scratch_folder(const PackCommand& command) {
  if (command.pack.check_only) return {};
  fs::path folder = fs::absolute(command.out).parent_path();
  while (!fs::is_directory(folder)) folder = folder.parent_path();
  return folder;
}

void run_pack(PackCommand& command) {
  if (command.out.empty() && !command.pack.check_only)
    throw UsageError("pack: -o OUT.h5 is needed (or --check-only)");
  if (!command.read.images.empty() && !fs::is_directory(command.read.images))
    throw UsageError(fmt::format("--images {}: no such folder", command.read.images.string()));
  split_renames(command);
  command.read.threads = command.pack.threads;
  command.read.scratch = scratch_folder(command);
  data::Source source = data::read_source(command.source, command.read);
  if (!command.pack.check_only && fs::path(command.out).has_parent_path())
    fs::create_directories(fs::path(command.out).parent_path());
  const std::string format = source.format;
  try {
    const data::PackReport report = data::pack_source(std::move(source), command.out, command.pack);
    print_summary(command, format, report);
    if (command.json) print_json(format, report, {});
  } catch (const data::PackError& error) {
    if (command.json) print_json(format, {}, error.faults);
    throw;
  }
}

void add_repairs(CLI::App& app, PackCommand& command) {
  const std::map<std::string, data::BoxFrame> frames{{"stored", data::BoxFrame::kStored},
                                                     {"resized", data::BoxFrame::kResized},
                                                     {"norm1000", data::BoxFrame::kNorm1000}};
  app.add_flag("--clip", command.pack.clip, "cut boxes to their pictures, listed");
  app.add_flag("--drop-bad-boxes", command.pack.drop_bad_boxes,
               "leave bad boxes out, listed; their samples stay");
  app.add_flag("--upright", command.read.upright,
               "store pictures that EXIF turns as turned, and check boxes against that");
  app.add_option(
         "--boxes", command.read.boxes,
         "what numbers of boxes are: stored (pixels of the picture), resized (pixels of the "
         "picture as Qwen's processor resizes it) or norm1000 (0..1000 of its sides)")
      ->transform(CLI::CheckedTransformer(frames, CLI::ignore_case))
      ->option_text("stored|resized|norm1000");
  app.add_option("--min-pixels", command.read.min_pixels, "with --boxes resized: the processor's")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-pixels", command.read.max_pixels, "with --boxes resized: the processor's")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--factor", command.read.factor,
                 "with --boxes resized: patch size times merge size (28; Qwen3-VL 32)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--images", command.read.images,
                 "where the pictures are, looked for by path and by name");
}

void add_choices(CLI::App& app, PackCommand& command) {
  app.add_option("--classes", command.pack.classes, "keep these classes alone: A,B,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--rename", command.rename,
                 "OLD=NEW: rename a class, or merge it into another; before --classes")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--val-fraction", command.pack.val_fraction,
                 "write this share of the pictures to OUT.val.h5 instead")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--seed", command.pack.seed, "with --val-fraction: of the draw")
      ->capture_default_str();
}

}  // namespace

void add_pack(CommandLine& cli) {
  CLI::App& app =
      add_command(cli, "pack", "validate a dataset and write it as one HDF5 pack",
                  {"muster pack shapes/annotations.json -o train.h5",
                   "muster pack VOCdevkit/VOC2007 -o val.h5 --split val --skip-bad",
                   "muster pack chats.jsonl -o train.h5 --val-fraction 0.1 --boxes norm1000",
                   "muster pack dataset --check-only --json"});
  const auto command = std::make_shared<PackCommand>();
  app.add_option("SOURCE", command->source,
                 "a folder or file of VOC, YOLO, COCO, JSONL, CVAT or Label Studio (docs/data.md)")
      ->required();
  app.add_option("-o,--out", command->out, "the pack to write");
  app.add_option("--split", command->read.split,
                 "train, val, test, ...: a list, folder or file of that name");
  app.add_option("--format", command->read.format,
                 "voc, coco, yolo, jsonl, cvat or label-studio; recognised when absent");
  app.add_option("--threads", command->pack.threads,
                 "threads that read and validate; one per core when absent")
      ->check(CLI::PositiveNumber);
  app.add_flag("--skip-bad", command->pack.skip_bad,
               "leave bad samples out and list them, instead of refusing");
  app.add_flag("--check-only", command->pack.check_only, "validate and write nothing");
  app.add_flag("--json", command->json, "print the summary as JSON on stdout");
  add_repairs(app, *command);
  add_choices(app, *command);
  app.callback([command] { run_pack(*command); });
}

}  // namespace muster::launcher
