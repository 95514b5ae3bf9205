// muster train CONFIG is one rank. mpirun or srun starts it once per rank; alone it is a world of
// one.
#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/process/atomic_file.h"
#include "launcher/commands/command_table.h"
#include "launcher/commands/epoch_change_flags.h"
#include "launcher/commands/out_of_memory.h"
#include "launcher/commands/profile_flag.h"
#include "launcher/doctor/judgements.h"
#include "launcher/front/config_arguments.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/world.h"
#include "launcher/rendezvous/rendezvous.h"
#include "trainer/assembly/collective.h"
#include "trainer/assembly/device.h"
#include "trainer/stop_signal.h"
#include "trainer/train_loop.h"

namespace muster::launcher {
namespace {

struct TrainOptions {
  ConfigArguments config;
  EpochChangeFlags epoch;
  ProfileFlag profile;
};

void start_log(const configs::Config& config, const RankInfo& info) {
  log::Options options;
  options.level = config.logging.level;
  options.file = fs::path(config.run.dir) / "logs" / fmt::format("rank-{}.log", info.rank);
  options.max_bytes = static_cast<std::size_t>(config.logging.max_bytes);
  options.console = info.rank == 0;
  options.tag = fmt::format("rank {}/{} {}", info.rank, info.world_size, info.host);
  log::init(options);
}

trainer::RankPlace place_of(const RankInfo& info) {
  return {.rank = info.rank,
          .world_size = info.world_size,
          .store = {.host = info.store.host,
                    .port = info.store.port,
                    .token = info.store.token,
                    .listener = info.store.listener}};
}

// An epoch that is finished with the values it was begun with is a part of its own: the next
// Trainer resumes from its last checkpoint, with today's.
void train_in_parts(const configs::Config& config,
                    const std::shared_ptr<sharding::Collective>& collective,
                    const TrainOptions& options) {
  bool goes_on = true;
  while (goes_on) {
    trainer::Trainer trainer(config, collective, options.epoch.change());
    if (options.profile.asked()) trainer.set_profile(options.profile.steps());
    trainer.train();
    goes_on = trainer.waits_for_new_values();
    if (goes_on && collective->rank() == 0)
      log::info("step {}: the epoch is finished, the new values take effect", trainer.step());
  }
}

// What launch has said already, unless mpirun was given this program by hand.
void warn_of_products(const configs::Config& config) {
  if (std::getenv("MUSTER_ATTEMPT") != nullptr) return;
  const Finding products = judge_products(config, has_bf16_products());
  if (products.level != Level::kOk) log::warn("{}. Fix: {}", products.what, products.fix);
}

void run_rank(const configs::Config& config, const RankInfo& info, const TrainOptions& options) {
  fs::create_directories(config.run.dir);
  start_log(config, info);
  check_world(info.world_size, config.batch.micro_batches_per_step);
  at::set_num_threads(static_cast<int>(config.run.threads_per_rank));
  trainer::install_stop_signals();
  trainer::open_device(config.run, info.local_rank);
  if (info.rank == 0) {
    write_text(fs::path(config.run.dir) / "config.yaml", configs::to_yaml(config));
    for (const std::string& warning : configs::warnings(config)) log::warn("{}", warning);
    warn_of_products(config);
  }
  train_in_parts(config, trainer::make_collective(config, place_of(info)), options);
}

// An error that every rank meets alike (a config, a stop, a health abort) ends the ranks one by
// one; any other takes the world down, since the peers wait in a collective that will never
// complete.
bool all_ranks_agree(const Error& error) {
  return dynamic_cast<const ConfigError*>(&error) != nullptr ||
         dynamic_cast<const NumericError*>(&error) != nullptr ||
         dynamic_cast<const StopRequested*>(&error) != nullptr;
}

int fail(MpiSession& session, const std::string& run_dir, ExitCode code, const std::string& what,
         bool alone, bool peer_failed = false) {
  const RankInfo& info = session.info();
  log::flush_backtrace();
  if (!run_dir.empty()) report_rank_error(run_dir, info.rank, what, peer_failed);
  if (info.rank == 0 || alone) log::error("{}", what);
  if (alone && info.world_size > 1) {
    fmt::print(stderr, "[rank {}/{} {}] {}\n", info.rank, info.world_size, info.host, what);
    session.abort(static_cast<int>(code));
  }
  return static_cast<int>(code);
}

// The table goes to this rank's log and console, and the one line to whoever asks what failed
// first.
int fail_out_of_memory(MpiSession& session, const configs::Config& config,
                       const std::exception& error) {
  const RankInfo& info = session.info();
  log::error("{}", memory_report(config, info.world_size));
  return fail(session, config.run.dir, ExitCode::kOutOfMemory,
              out_of_memory_line(error, config.run.dir, info.rank), true);
}

int train(const TrainOptions& options) {
  MpiSession session;
  configs::Config config;
  try {
    config = options.config.load();
    run_rank(config, session.info(), options);
    return 0;
  } catch (const Error& error) {
    return fail(session, config.run.dir, error.exit_code(), error.what(), !all_ranks_agree(error),
                dynamic_cast<const CollectiveError*>(&error) != nullptr);
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) return fail_out_of_memory(session, config, error);
    const auto* torch = dynamic_cast<const c10::Error*>(&error);
    if (torch != nullptr) log::debug("{}", error.what());
    const std::string what = torch != nullptr
                                 ? std::string("internal error: ") + torch->what_without_backtrace()
                                 : error.what();
    return fail(session, config.run.dir, ExitCode::kRankFailed, what, true);
  }
}

}  // namespace

void add_train(CommandLine& cli) {
  CLI::App& command =
      add_command(cli, "train", "one rank of a training run; mpirun -n N muster train CONFIG",
                  {"mpirun -n 2 muster train configs/demo.yaml",
                   "muster train configs/demo.yaml --set run.dir=runs/alone"});
  const auto options = std::make_shared<TrainOptions>();
  options->config.add_to(command);
  options->epoch.add_to(command);
  options->profile.add_to(command);
  command.callback([&cli, options] { cli.exit_code = train(*options); });
}

}  // namespace muster::launcher
