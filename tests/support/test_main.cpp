// Catch2's session with MPI set up once around it. `--world N` says how many ranks the test
// expects: a ranked test that is run at another world size must fail, not pass without testing
// anything.
#include <mpi.h>

#include <catch2/catch_session.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

// One failing rank takes the world down: the others may be waiting for it in a collective.
int run_ranked(Catch::Session& session, int expected) {
  int provided = 0, world = 0, rank = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  MPI_Comm_size(MPI_COMM_WORLD, &world);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (world != expected) {
    std::fprintf(stderr, "this test wants %d ranks and was started with %d: mpirun -n %d ...\n",
                 expected, world, expected);
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  session.configData().abortAfter = 1;
  const int result = session.run();
  constexpr int kAllSkipped = 4;
  if (result != 0 && result != kAllSkipped) MPI_Abort(MPI_COMM_WORLD, result);
  MPI_Finalize();
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  Catch::Session session;
  int world = 0;
  session.cli(session.cli() |
              Catch::Clara::Opt(world, "ranks")["--world"]("the world size this run must have"));
  if (const int usage = session.applyCommandLine(argc, argv); usage != 0) return usage;
  return world > 0 ? run_ranked(session, world) : session.run();
}
