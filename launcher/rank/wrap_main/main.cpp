// muster-rank-wrap: what mpirun and srun start once per rank. A program of its own, without
// LibTorch, so that it costs milliseconds; it lies beside muster, which finds it there.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/error.h"
#include "launcher/rank/rank_wrap.h"

int main(int argc, char** argv) {
  using namespace muster;
  CLI::App app{
      "muster-rank-wrap: runs one rank and keeps its true exit status; started by `muster launch`"};
  launcher::WrapSpec spec;
  app.add_option("--run-dir", spec.run_dir)->required();
  app.add_option("--attempt", spec.attempt)->required();
  app.add_option("--max-output-bytes", spec.max_output_bytes,
                 "of logs/rank-<r>.out and its predecessor");
  app.add_flag("--one-gpu", spec.one_gpu, "the rank sees the GPU of its local rank alone");
  app.add_option("--beats", spec.beat_token,
                 "token of the beats on stdout; without it there are none");
  app.add_flag("--local-box", spec.local_box,
               "the black box lies on this machine's own disk while the rank runs");
  app.add_option("program", spec.program, "after --")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    return launcher::run_wrapped(spec);
  } catch (const Error& error) {
    fmt::print(stderr, "muster-rank-wrap: {}\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
