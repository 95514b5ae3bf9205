// muster pack SOURCE -o OUT.h5 makes one validated HDF5 file of annotations and images.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "data/sources/sources.h"
#include "launcher/commands/command_table.h"

namespace muster::launcher {
namespace {

namespace fs = std::filesystem;

struct PackOptions {
  std::string source;
  std::string out;
  std::string split;
  std::string format;
  bool skip_bad = false;
  bool check_only = false;
  bool json = false;
  int threads = 0;
};

void print_summary(const PackOptions& options, const data::Source& source,
                   const data::PackReport& report) {
  fmt::print(stderr, "{} ({}): {} samples read, {} {}, {} left out\n", options.source,
             source.format, source.samples.size(), report.packed,
             options.check_only ? "good" : "packed", report.left_out.size());
  fmt::print(stderr, "{} objects{}\n", report.objects,
             report.crowds > 0 ? fmt::format(", {} of them crowds", report.crowds) : "");
  for (const auto& [name, count] : report.objects_per_category)
    fmt::print(stderr, "  {:>9}  {}\n", count, name);
  for (const std::string& line : report.left_out) fmt::print(stderr, "left out {}\n", line);
  for (const std::string& line : report.warnings) fmt::print(stderr, "warning: {}\n", line);
  if (!options.check_only)
    fmt::print(stderr, "{}: {}\n", options.out,
               human_bytes(static_cast<std::int64_t>(fs::file_size(options.out))));
}

void print_json(const data::PackReport& report) {
  nlohmann::ordered_json objects = nlohmann::ordered_json::object();
  for (const auto& [name, count] : report.objects_per_category) objects[name] = count;
  const nlohmann::ordered_json all{{"packed", report.packed},
                                   {"objects", report.objects},
                                   {"objects_per_category", objects},
                                   {"left_out", report.left_out},
                                   {"warnings", report.warnings}};
  fmt::print("{}\n", all.dump());
}

void run_pack(const PackOptions& options) {
  if (options.out.empty() && !options.check_only)
    throw UsageError("pack: -o OUT.h5 is needed (or --check-only)");
  const data::Source source = data::read_source(options.source, options.format, options.split);
  if (!options.check_only && fs::path(options.out).has_parent_path())
    fs::create_directories(fs::path(options.out).parent_path());
  const data::PackReport report =
      data::pack_source(source, options.out, options.skip_bad, options.check_only, options.threads);
  print_summary(options, source, report);
  if (options.json) print_json(report);
}

}  // namespace

void add_pack(CommandLine& cli) {
  CLI::App& command = add_command(cli, "pack", "validate a dataset and write it as one HDF5 pack",
                                  {"muster pack shapes/annotations.json -o train.h5",
                                   "muster pack VOCdevkit/VOC2007 -o val.h5 --split val --skip-bad",
                                   "muster pack dataset --check-only --json"});
  const auto options = std::make_shared<PackOptions>();
  command
      .add_option("SOURCE", options->source, "VOC or YOLO folder, COCO JSON or Qwen-style JSONL")
      ->required();
  command.add_option("-o,--out", options->out, "the pack to write");
  command.add_option("--split", options->split,
                     "VOC: ImageSets/Main/NAME.txt; YOLO: images/NAME; all samples when absent");
  command.add_option("--format", options->format,
                     "voc, coco, yolo or jsonl; recognised when absent");
  command
      .add_option("--threads", options->threads, "threads that validate; one per core when absent")
      ->check(CLI::PositiveNumber);
  command.add_flag("--skip-bad", options->skip_bad,
                   "leave bad samples out and list them, instead of refusing");
  command.add_flag("--check-only", options->check_only, "validate and write nothing");
  command.add_flag("--json", options->json, "print the summary as JSON on stdout");
  command.callback([options] { run_pack(*options); });
}

}  // namespace muster::launcher
