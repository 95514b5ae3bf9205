// muster pack: annotations and images -> one validated HDF5 file.
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

struct PackFlags {
  std::string source, out, split, format;
  bool skip_bad = false, check_only = false, json = false;
  int threads = 0;
};

void print_summary(const PackFlags& flags, const data::Source& source,
                   const data::PackReport& report) {
  fmt::print(stderr, "{} ({}): {} samples read, {} {}, {} left out\n", flags.source, source.format,
             source.samples.size(), report.packed, flags.check_only ? "good" : "packed",
             report.left_out.size());
  fmt::print(stderr, "{} objects{}\n", report.objects,
             report.crowds > 0 ? fmt::format(", {} of them crowds", report.crowds) : "");
  for (const auto& [name, count] : report.objects_per_category)
    fmt::print(stderr, "  {:>9}  {}\n", count, name);
  for (const std::string& line : report.left_out) fmt::print(stderr, "left out {}\n", line);
  for (const std::string& line : report.warnings) fmt::print(stderr, "warning: {}\n", line);
  if (!flags.check_only)
    fmt::print(stderr, "{}: {}\n", flags.out,
               human_bytes(static_cast<std::int64_t>(fs::file_size(flags.out))));
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

void run_pack(const PackFlags& flags) {
  if (flags.out.empty() && !flags.check_only)
    throw UsageError("pack: -o OUT.h5 is needed (or --check-only)");
  const data::Source source = data::read_source(flags.source, flags.format, flags.split);
  if (!flags.check_only && fs::path(flags.out).has_parent_path())
    fs::create_directories(fs::path(flags.out).parent_path());
  const data::PackReport report =
      data::pack_source(source, flags.out, flags.skip_bad, flags.check_only, flags.threads);
  print_summary(flags, source, report);
  if (flags.json) print_json(report);
}

}  // namespace

void add_pack(CommandLine& cli) {
  auto* command =
      cli.app.add_subcommand("pack", "Validate a dataset and write it as one HDF5 pack");
  const auto flags = std::make_shared<PackFlags>();
  command->add_option("SOURCE", flags->source, "VOC or YOLO folder, COCO json, Qwen-style JSONL")
      ->required();
  command->add_option("-o,--out", flags->out, "The pack to write");
  command->add_option("--split", flags->split,
                      "VOC: ImageSets/Main/NAME.txt; YOLO: images/NAME; all samples when absent");
  command->add_option("--format", flags->format,
                      "voc, coco, yolo or jsonl; recognised when absent");
  command
      ->add_option("--threads", flags->threads, "Threads that validate; one per core when absent")
      ->check(CLI::PositiveNumber);
  command->add_flag("--skip-bad", flags->skip_bad,
                    "Leave bad samples out and list them, instead of refusing");
  command->add_flag("--check-only", flags->check_only, "Validate and write nothing");
  command->add_flag("--json", flags->json, "Print the summary as JSON on stdout");
  command->callback([flags] { run_pack(*flags); });
}

}  // namespace muster::launcher
