// A stand-in for `muster train`: joins the world, steps with short sleeps and one collective each,
// writes a black box and fake checkpoints, stops on USR2 with 75, and fails the way it is told to.
#include <mpi.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/flight_recorder.h"
#include "base/process/atomic_file.h"
#include "base/step_folder.h"
#include "launcher/rank/rank_status.h"
#include "launcher/rank/run_folder.h"
#include "launcher/rendezvous/rendezvous.h"

namespace {

using namespace muster;
using namespace muster::launcher;

volatile std::sig_atomic_t stop_requested = 0;

struct Options {
  fs::path run_dir;
  int steps = 10, step_ms = 20, checkpoint_every = 0;
  std::string fault = "none";
  int fault_rank = 1, fault_step = 3;
  int fault_every = 0;          // not at fault_step, but so many steps after the attempt's first
  int fault_attempts = 1000;    // attempts 0 .. this - 1 fail
  bool peers_complain = false;  // as a collective does that loses a peer
  bool ignore_stop = false, print_world = false;
  std::vector<std::string> settings;  // --set, as the memory ladder adds them
};

void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

[[noreturn]] void fail(const Options& o, MpiSession& session) {
  const int rank = session.info().rank;
  if (o.fault == "exit3") std::_Exit(3);
  if (o.fault == "exit0") std::_Exit(0);
  if (o.fault == "kill") ::kill(::getpid(), SIGKILL);
  if (o.fault == "segv") {
    ::signal(SIGSEGV, SIG_DFL);
    ::raise(SIGSEGV);
  }
  if (o.fault == "abort") session.abort(static_cast<int>(ExitCode::kRankFailed));
  if (o.fault == "stop") ::raise(SIGSTOP);
  if (o.fault == "oom") {
    report_rank_error(o.run_dir, rank, "out of memory");
    session.abort(static_cast<int>(ExitCode::kOutOfMemory));
  }
  if (o.fault.starts_with("code")) std::_Exit(std::atoi(o.fault.c_str() + 4));
  if (o.fault == "nan") {
    report_rank_error(o.run_dir, rank, "loss is NaN in loss.caption");
    session.abort(static_cast<int>(ExitCode::kNumeric));
  }
  for (;;) pause_ms(1000);
}

void write_checkpoint(const fs::path& run_dir, int step) {
  AtomicFolder folder(run_dir / "checkpoints" / step_folder_name(step));
  write_text(folder.part() / "manifest.json", "{}");
  folder.commit();
}

// One step, in which a rank fails when it is `faulty`; true when all ranks agreed to stop after it.
bool step(const Options& o, MpiSession& session, FlightRecorder& box, int number, bool faulty) {
  box.set_step(number);
  box.record(Phase::kForward);
  pause_ms(o.step_ms);
  if (faulty) {
    if (session.info().rank == o.fault_rank) fail(o, session);
    if (o.peers_complain) {
      pause_ms(100);
      report_rank_error(o.run_dir, session.info().rank, "all_reduce: connection closed by peer",
                        true);
      session.abort(static_cast<int>(ExitCode::kRankFailed));
    }
  }
  box.record(Phase::kConsensus, -1, number);
  int mine = o.ignore_stop ? 0 : static_cast<int>(stop_requested), all = mine;
  if (session.info().world_size > 1)
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  box.record(Phase::kGather, -1, number);
  const bool save = all != 0 || (o.checkpoint_every > 0 && (number + 1) % o.checkpoint_every == 0);
  if (save) box.record(Phase::kCheckpoint);
  if (save && session.info().rank == 0) write_checkpoint(o.run_dir, number);
  return all != 0;
}

// Rank 0 looks: what others see of the folder may be older.
int agreed_first_step(const Options& o, const RankInfo& me) {
  int first = static_cast<int>(newest_checkpoint(o.run_dir)) + 1;
  if (me.world_size > 1) MPI_Bcast(&first, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return first;
}

int run(const Options& o) {
  MpiSession session;
  const RankInfo& me = session.info();
  if (o.print_world) {
    std::printf("world %d/%d local %d store %s:%d\n", me.rank, me.world_size, me.local_rank,
                me.store.host.c_str(), me.store.port);
    return 0;
  }
  const char* attempt = std::getenv("MUSTER_ATTEMPT");
  for (const std::string& setting : o.settings)
    std::fprintf(stderr, "rank %d set %s\n", me.rank, setting.c_str());
  const bool faulty =
      o.fault != "none" && attempt != nullptr && std::atoi(attempt) < o.fault_attempts;
  if (faulty && o.fault == "never-starts" && me.rank == o.fault_rank) fail(o, session);
  FlightRecorder box(own_flight_file(o.run_dir, me.rank), me.rank, me.world_size);
  box.record(Phase::kStart);
  const int first = agreed_first_step(o, me);
  for (int number = first; number < o.steps; ++number) {
    const bool fails_now =
        o.fault_every > 0 ? number - first == o.fault_every : number == o.fault_step;
    if (step(o, session, box, number, faulty && fails_now)) {
      box.record(Phase::kDone);
      return static_cast<int>(ExitCode::kStoppedOnRequest);
    }
  }
  box.record(Phase::kDone);
  std::fprintf(stderr, "rank %d finished\n", me.rank);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app;
  int exit_code = 0;
  Options o;
  CLI::App* rank = app.add_subcommand("rank");
  rank->add_option("--run-dir", o.run_dir);
  rank->add_option("--steps", o.steps)->take_last();
  rank->add_option("--step-ms", o.step_ms);
  rank->add_option("--checkpoint-every", o.checkpoint_every);
  rank->add_option("--fault", o.fault)->take_last();
  rank->add_option("--fault-rank", o.fault_rank);
  rank->add_option("--fault-step", o.fault_step);
  rank->add_option("--fault-every", o.fault_every);
  rank->add_option("--fault-attempts", o.fault_attempts);
  rank->add_flag("--peers-complain", o.peers_complain);
  rank->add_flag("--ignore-stop", o.ignore_stop);
  rank->add_flag("--print-world", o.print_world);
  rank->add_option("--set", o.settings)->allow_extra_args(false);
  rank->callback([&] {
    std::signal(SIGUSR2, [](int) { stop_requested = 1; });
    exit_code = run(o);
  });
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
