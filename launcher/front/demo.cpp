// muster demo does the main job, small: it draws scenes, packs them, trains a random detector on
// two ranks, evaluates it on scenes it never saw, and writes the report.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process/spawn.h"
#include "base/source_files.h"
#include "base/text.h"
#include "configs/config.h"
#include "launcher/front/command_line.h"
#include "launcher/front/config_arguments.h"
#include "trainer/show/metrics.h"

namespace muster::launcher {
namespace {

constexpr const char* kDemoConfig = "configs/demo.yaml";
constexpr const char* kDemoData = "runs/demo_data";  // as the config names it

struct DemoOptions {
  ConfigArguments config;
  int ranks = 2;
};

// Scenes of one division; equal seeds draw equal scenes.
struct Scenes {
  const char* name;
  const char* images;
  const char* seed;
};
constexpr Scenes kDivisions[] = {{"train", "2000", "1"}, {"val", "200", "2"}};

// Runs a command of muster itself; what it prints goes to stderr, since stdout is for the result.
// Returns its exit code.
int run_muster(const std::vector<std::string>& words) {
  Spawn what;
  what.argv = {(executable_path().parent_path() / "muster").string()};
  what.argv.insert(what.argv.end(), words.begin(), words.end());
  what.output = STDERR_FILENO;
  fmt::print(stderr, "muster {}\n", join(words, " "));
  const Spawned child = spawn(what);
  const int code = wait_for(child.pid);
  if (child.exec_error != 0)
    throw PreflightError(
        fmt::format("cannot start {}: {}", what.argv.front(), std::strerror(child.exec_error)));
  return code;
}

// Draws and packs what is not there yet.
int make_data() {
  for (const Scenes& scenes : kDivisions) {
    const std::string folder = fmt::format("{}/{}", kDemoData, scenes.name);
    const std::string pack = folder + ".h5";
    if (fs::exists(pack)) continue;
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"synth", folder, "--images", scenes.images, "--size", "168", "--seed", scenes.seed},
             {"pack", folder + "/annotations.json", "-o", pack}})
      if (const int code = run_muster(words); code != 0) return code;
  }
  return 0;
}

int train(const DemoOptions& options) {
  std::vector<std::string> words = options.config.words();
  words.insert(words.begin(), "launch");
  words.insert(words.end(), {"-n", std::to_string(options.ranks), "--fresh"});
  return run_muster(words);
}

double last_ap50(const fs::path& run_dir) {
  const fs::path file = run_dir / "metrics.jsonl";
  std::optional<double> last;
  for (const auto& row : trainer::read_metrics(file))
    if (const auto value = row.find("eval.AP50"); value != row.end()) last = value->second;
  if (!last) throw DataError(fmt::format("{}: no evaluation in it", file.string()));
  return *last;
}

int demo(DemoOptions options) {
  if (options.config.file.empty()) options.config.file = kDemoConfig;
  const fs::path run_dir = options.config.load().run.dir;
  if (const int code = make_data(); code != 0) return code;
  if (const int code = train(options); code != 0) return code;
  if (const int code = run_muster({"report", run_dir.string()}); code != 0) return code;
  fmt::print("AP50 {:.2f}  report {}\n", last_ap50(run_dir), (run_dir / "report.html").string());
  return 0;
}

}  // namespace

void add_demo(CommandLine& cli) {
  CLI::App& command = add_command(
      cli, "demo", "draw scenes, pack them, train two ranks, evaluate, report: in ./runs",
      {"muster demo", "muster demo --set schedule.max_steps=200 --set eval.every_steps=100"});
  const auto options = std::make_shared<DemoOptions>();
  options->config.add_optional_to(command, fmt::format("without it {}", kDemoConfig));
  command.add_option("-n,--ranks", options->ranks, "how many ranks")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.callback([options, &cli] { cli.exit_code = demo(*options); });
}

}  // namespace muster::launcher
