// muster serve [RUN_DIR|RUNS_DIR|CHECKPOINT]... answers browsers and programs until it is stopped.
// It needs LibTorch only where there is a checkpoint to try.
#include <fmt/core.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/process/signal_hub.h"
#include "launcher/front/command_line.h"
#include "launcher/rank/run_folder.h"
#include "launcher/serve/app.h"

namespace muster::launcher {
namespace {

constexpr int kDefaultPort = 8321;
constexpr const char* kTokenVariable = "MUSTER_SERVE_TOKEN";

struct ServeArguments {
  std::vector<std::string> places;
  std::string checkpoint;
  std::string device;
  std::string host = "127.0.0.1";
  std::string token;
  int port = kDefaultPort;
  int most_body_mb = 32;
  int queue = 64;
  int batch = 8;
  int timeout_s = 60;
  bool no_token = false;
  bool writable = false;
};

// A folder with weights of its own is no run and no folder of runs.
bool is_checkpoint(const fs::path& place) {
  return !is_run_folder(place) &&
         (fs::exists(place / "manifest.json") || fs::exists(place / "config.json"));
}

struct Places {
  std::vector<fs::path> runs;
  std::string checkpoint;  // "": there is nothing to try
};

// What is tried: --try, else a checkpoint among the places, else the first run with one.
Places sort_out(const ServeArguments& arguments) {
  Places sorted;
  sorted.checkpoint = arguments.checkpoint;
  std::string of_run;
  for (const std::string& place : arguments.places) {
    if (is_checkpoint(place)) {
      if (!sorted.checkpoint.empty())
        throw UsageError(fmt::format(
            "serve: {} and {}: one checkpoint is tried at a time; start a second server for the "
            "other",
            sorted.checkpoint, place));
      sorted.checkpoint = place;
      continue;
    }
    sorted.runs.emplace_back(place);
    if (of_run.empty() && is_run_folder(place) && newest_checkpoint(place) >= 0) of_run = place;
  }
  if (sorted.checkpoint.empty()) sorted.checkpoint = of_run;
  return sorted;
}

std::string token_of(const ServeArguments& arguments) {
  if (arguments.no_token) return "";
  if (!arguments.token.empty()) return arguments.token;
  const char* set = std::getenv(kTokenVariable);
  return set != nullptr && *set != '\0' ? set : new_token();
}

ServeOptions options_of(const ServeArguments& arguments, Places places, const CommandLine& cli) {
  ServeOptions options;
  options.http.host = arguments.host;
  options.http.port = arguments.port;
  options.http.most_body_bytes = static_cast<std::size_t>(arguments.most_body_mb) << 20;
  options.queue.waiting = static_cast<std::size_t>(arguments.queue);
  options.queue.batch = static_cast<std::size_t>(arguments.batch);
  options.queue.patience = std::chrono::seconds(arguments.timeout_s);
  options.http.request = options.queue.patience;
  // Everyone who waits for the detector holds a thread; the pages need some, too.
  constexpr std::size_t kForPages = 16;
  options.http.threads = options.queue.waiting + kForPages;
  options.token = token_of(arguments);
  options.writable = arguments.writable;
  options.places = std::move(places.runs);
  if (!places.checkpoint.empty())
    options.detector = cli.open_detector(places.checkpoint, arguments.device);
  return options;
}

void wait_for_signal(SignalHub& hub) {
  pollfd waiting{hub.fd(), POLLIN, 0};
  while (!hub.next()) ::poll(&waiting, 1, -1);
}

void serve(const ServeArguments& arguments, const CommandLine& cli) {
  Places places = sort_out(arguments);
  if (!places.checkpoint.empty() && !cli.has_all()) hand_over(cli.argv);
  SignalHub hub({SIGINT, SIGTERM, SIGHUP});
  const std::string tried = places.checkpoint;
  const ServeApp app(options_of(arguments, std::move(places), cli));
  fmt::print("{}\n", app.address());
  std::fflush(stdout);
  fmt::print(stderr, "serve: open the address above in a browser{}; Ctrl-C ends\n",
             arguments.host == "127.0.0.1" ? " of this machine" : "");
  if (tried.empty())
    fmt::print(stderr, "serve: no checkpoint to try; --try RUN_DIR would add one\n");
  else
    fmt::print(stderr, "serve: to try: {}\n", tried);
  if (arguments.no_token && arguments.host != "127.0.0.1")
    fmt::print(stderr, "serve: whoever reaches {}:{} may read these runs: no token is asked for\n",
               arguments.host, app.port());
  wait_for_signal(hub);
  fmt::print(stderr, "serve: ends\n");
}

void add_bounds(CLI::App& command, ServeArguments& arguments) {
  command.add_option("--max-body", arguments.most_body_mb, "largest body of a request, in MiB")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      .add_option("--queue", arguments.queue,
                  "pictures that may wait for the detector; more are answered with 429")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--batch", arguments.batch, "pictures in the model at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      .add_option("--timeout", arguments.timeout_s,
                  "seconds for a request to arrive, and for its answer")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
}

}  // namespace

void add_serve(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "serve",
                  "a page and a REST API on this machine: runs as they happen, a checkpoint to try",
                  {"muster serve runs", "muster serve runs/demo --port 8080",
                   "muster serve runs --try runs/demo"});
  const auto arguments = std::make_shared<ServeArguments>();
  command
      .add_option("RUN_DIR|RUNS_DIR|CHECKPOINT", arguments->places,
                  "run folders, folders of run folders, and one step-* folder to try")
      ->required()
      ->check(CLI::ExistingDirectory);
  command
      .add_option("--try", arguments->checkpoint,
                  "the checkpoint to try: a step-* folder or run folder; when not given, that of "
                  "the first run named")
      ->check(CLI::ExistingDirectory);
  command
      .add_option("--device", arguments->device,
                  "where it computes, cpu or cuda; as in training when not given")
      ->check(CLI::IsMember(std::vector<std::string>{"cpu", "cuda"}));
  command.add_option("--port", arguments->port, "where it listens; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command
      .add_option("--host", arguments->host, "address to listen on; 0.0.0.0: all of this machine")
      ->capture_default_str();
  command.add_option("--token", arguments->token,
                     "the token to ask for; else $MUSTER_SERVE_TOKEN, else a new one");
  command.add_flag("--no-token", arguments->no_token, "ask for no token");
  command.add_flag("--writable", arguments->writable,
                   "pages may stop a run and write its report; else they only read");
  add_bounds(command, *arguments);
  command.callback([&cli, arguments] { serve(*arguments, cli); });
}

}  // namespace muster::launcher
