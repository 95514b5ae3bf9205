// muster triage RUN_DIR|LOG tells what happened first, which diary row it is, and what to change.
#include "launcher/triage/triage.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/files.h"
#include "launcher/front/command_line.h"
#include "launcher/triage/draft_row.h"
#include "launcher/triage/verdict_text.h"

namespace muster::launcher {
namespace {

struct TriageOptions {
  std::string path;
  std::string diary;
  bool json = false;
  bool append = false;
};

// Returns the exit code: 0 when the failure is explained or nothing failed, 1 when it is unknown
// and a row is drafted.
int run_triage(const TriageOptions& options) {
  const Diary diary = load_diary(find_diary(options.diary));
  const Evidence evidence = gather(options.path);
  const Verdict verdict = triage(evidence, diary);
  if (options.json)
    fmt::print("{}\n", verdict_as_json(verdict, options.path));
  else
    fmt::print("{}", verdict_as_text(verdict, options.path));
  if (verdict.nothing_failed || !verdict.matches.empty()) return 0;

  const std::string row = draft_row(evidence, verdict, diary);
  if (options.append) append_row(diary.file, row);
  fmt::print(stderr, "\nNo row of {} explains this. {}:\n{}\n", diary.file.string(),
             options.append ? "Added at its end; fill in cause, fix and guard"
                            : "A draft (--append adds it)",
             row);
  return 1;
}

}  // namespace

void add_triage(CommandLine& cli) {
  CLI::App& command = add_command(cli, "triage", "explain a failed run from what it left behind",
                                  {"muster triage runs/demo", "muster triage slurm-4711.out --json",
                                   "muster triage runs/demo --append"});
  const auto options = std::make_shared<TriageOptions>();
  command.add_option("RUN_DIR|LOG", options->path, "a run folder, or one log file")
      ->required()
      ->check(CLI::ExistingPath);
  command.add_flag("--json", options->json, "machine-readable, on stdout");
  command.add_flag("--append", options->append,
                   "add a drafted row for an unknown failure to the diary");
  command.add_option("--diary", options->diary, "instead of the DEBUG_DIARY.md that is found");
  command.callback([options, &cli] { cli.exit_code = run_triage(*options); });
}

}  // namespace muster::launcher
