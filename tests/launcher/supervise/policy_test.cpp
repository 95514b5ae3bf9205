// The launcher's pure parts: who started us, how ranks are started, who is to blame, whether to
// start again.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "launcher/rank/first_failure.h"
#include "launcher/rank/world.h"
#include "launcher/supervise/command_builder.h"
#include "launcher/supervise/restart_policy.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

WorldEnvironment world_of(const std::map<std::string, std::string>& variables) {
  return world_from_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

RankEvidence ended(int rank, int code, int signal, double end, Phase phase = Phase::kReduce) {
  RankEvidence r;
  r.status.rank = rank, r.status.host = "node";
  r.status.exit_code = code, r.status.signal = signal, r.status.end_unix = end;
  r.last = FlightEvent{};
  r.last->phase = phase, r.last->step = 12;
  return r;
}

RankEvidence torn_down(int rank, double end) {
  RankEvidence r = ended(rank, 137, 9, end);
  r.status.torn_down = true;
  return r;
}

LaunchSpec small_spec() {
  LaunchSpec spec;
  spec.run_dir = "/runs/a";
  spec.ranks = 4;
  spec.wrapper = {"/bin/muster-rank-wrap"};
  spec.rank_program = {"/bin/muster", "train", "c.yaml"};
  spec.environment = {{"NCCL_DEBUG", "WARN"}};
  spec.threads_per_rank = 3;
  return spec;
}

}  // namespace

TEST_CASE("world: mpirun, srun, by hand, and starts that cannot work", "[unit]") {
  CHECK(!world_of({}).launched());
  CHECK(!world_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}})
             .launched());  // inside a batch script
  const auto mpirun =
      world_of({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}});
  CHECK(mpirun.by == "mpirun");
  CHECK(mpirun.rank == 3);
  CHECK(mpirun.world_size == 4);
  const auto srun =
      world_of({{"PMIX_RANK", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_LOCALID", "1"}});
  CHECK(srun.by == "srun");
  CHECK(srun.world_size == 2);
  CHECK(srun.local_rank == 1);
  CHECK_THROWS_AS(world_of({{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}}), PreflightError);
  CHECK_THROWS_AS(world_of({{"PMI_SIZE", "2"}, {"PMI_RANK", "0"}}),
                  PreflightError);  // another vendor's mpirun
}

TEST_CASE("world: ranks that do not divide the step are refused with the counts that work",
          "[unit]") {
  for (const int n : {1, 2, 4, 8}) CHECK_NOTHROW(check_world(n, 8));
  CHECK_THROWS_AS(check_world(0, 8), UsageError);
  CHECK_THROWS_WITH(check_world(3, 8), ContainsSubstring("1, 2, 4, 8") &&
                                           ContainsSubstring("launch CONFIG -n 2") &&
                                           ContainsSubstring("micro_batches_per_step=9") &&
                                           ContainsSubstring("R-011"));
  CHECK_THROWS_WITH(check_world(16, 8), ContainsSubstring("launch CONFIG -n 8"));
}

TEST_CASE("command builder: Open MPI 4, golden", "[unit]") {
  LaunchSpec spec = small_spec();
  spec.as_root = true;
  const Command command = build_command(spec, 2);
  CHECK(join(command.argv, " ") ==
        "mpirun -n 4 --oversubscribe --bind-to none -x MUSTER_ATTEMPT -x MUSTER_RUN_DIR -x "
        "NCCL_DEBUG -x OMP_NUM_THREADS "
        "/bin/muster-rank-wrap --run-dir /runs/a --attempt 2 -- /bin/muster train c.yaml");
  const std::map<std::string, std::string> environment{
      {"MUSTER_ATTEMPT", "2"},         {"MUSTER_RUN_DIR", "/runs/a"},
      {"NCCL_DEBUG", "WARN"},          {"OMP_NUM_THREADS", "3"},
      {"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}};
  CHECK(command.environment == environment);
}

// What stands between the starter and the first "-x" or the wrapper.
std::string golden(const LaunchSpec& spec) {
  const std::string line = join(build_command(spec, 0).argv, " ");
  const std::size_t x = line.find(" -x "), wrapper = line.find(" /bin/muster-rank-wrap");
  return line.substr(0, std::min(x, wrapper));
}

TEST_CASE("command builder: hosts, ranks per node and binding, for each starter, golden",
          "[unit]") {
  LaunchSpec plain = small_spec(), spread = small_spec(), core = small_spec(),
             socket = small_spec();
  spread.hosts = {{"a", 2}, {"b", 2}};
  spread.ranks_per_node = 2;
  core.cpu_binding = configs::CpuBinding::kCore;
  socket.cpu_binding = configs::CpuBinding::kSocket;
  LaunchSpec all = spread;
  all.cpu_binding = configs::CpuBinding::kCore;
  struct Row {
    Starter starter;
    const char *plain, *spread, *core, *socket, *all;
  };
  for (const Row& row : {
           Row{Starter::kMpirun4, "mpirun -n 4 --oversubscribe --bind-to none",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node --bind-to none",
               "mpirun -n 4 --oversubscribe --map-by slot:PE=3 --bind-to core",
               "mpirun -n 4 --oversubscribe --bind-to socket",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node:PE=3 --bind-to core"},
           Row{Starter::kMpirun5, "mpirun -n 4 --map-by :OVERSUBSCRIBE --bind-to none",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node --bind-to none",
               "mpirun -n 4 --map-by slot:PE=3:OVERSUBSCRIBE --bind-to core",
               "mpirun -n 4 --map-by :OVERSUBSCRIBE --bind-to socket",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node:PE=3 --bind-to core"},
           Row{Starter::kSrun,
               "srun --mpi=pmix --ntasks=4 --kill-on-bad-exit=1 --cpu-bind=none --export=ALL",
               "srun --mpi=pmix --ntasks=4 --ntasks-per-node=2 --nodelist=a,b --kill-on-bad-exit=1 "
               "--cpu-bind=none "
               "--export=ALL",
               "srun --mpi=pmix --ntasks=4 --cpus-per-task=3 --kill-on-bad-exit=1 --cpu-bind=cores "
               "--export=ALL",
               "srun --mpi=pmix --ntasks=4 --kill-on-bad-exit=1 --cpu-bind=sockets --export=ALL",
               "srun --mpi=pmix --ntasks=4 --ntasks-per-node=2 --cpus-per-task=3 --nodelist=a,b "
               "--kill-on-bad-exit=1 "
               "--cpu-bind=cores --export=ALL"},
       }) {
    for (LaunchSpec* spec : {&plain, &spread, &core, &socket, &all}) {
      spec->starter = row.starter;
      spec->starter_program = row.starter == Starter::kSrun ? "srun" : "mpirun";
    }
    CHECK(golden(plain) == row.plain);
    CHECK(golden(spread) == row.spread);
    CHECK(golden(core) == row.core);
    CHECK(golden(socket) == row.socket);
    CHECK(golden(all) == row.all);
  }
  plain.in_allocation = true;
  plain.avoid = {"n3", "n4"};
  CHECK_THAT(golden(plain), ContainsSubstring(" --exclude=n3,n4 "));
  plain.starter = Starter::kMpirun5;
  plain.starter_program = "mpirun";
  CHECK(golden(plain) == "mpirun -n 4 --bind-to none");
}

TEST_CASE(
    "command builder: several hosts find a lost one soon; one GPU per rank; a rung of the ladder; "
    "probes",
    "[unit]") {
  LaunchSpec spec = small_spec();
  CHECK(!build_command(spec, 0).environment.contains("OMPI_MCA_oob_tcp_keepalive_time"));
  spec.hosts = {{"a", 2}, {"b", 2}};
  CHECK(build_command(spec, 0).environment.contains("OMPI_MCA_oob_tcp_keepalive_time"));
  spec.one_gpu = true;
  spec.ladder = {{"less", {"a.b=1"}}, {"least", {"a.b=1", "c.d=2"}}};
  spec.ladder_rung = 2;
  CHECK_THAT(join(build_command(spec, 0).argv, " "),
             ContainsSubstring(
                 " --attempt 0 --one-gpu -- /bin/muster train c.yaml --set a.b=1 --set c.d=2"));
  CHECK(join(probe_command(spec, {"true"}).argv, " ") ==
        "mpirun -n 4 --host a:2,b:2 --bind-to none -x NCCL_DEBUG true");
}

TEST_CASE("command builder: versions of Open MPI as its programs and library say them", "[unit]") {
  CHECK(parse_open_mpi_version("mpirun (Open MPI) 4.1.4\n\nReport bugs to http://")->text ==
        "4.1.4");
  CHECK(parse_open_mpi_version("mpirun (Open MPI) 5.0.3")->major == 5);
  CHECK(parse_open_mpi_version("Open MPI v4.1.4, package: Debian OpenMPI")->minor == 1);
  CHECK(!parse_open_mpi_version("HYDRA build details:\n    Version: 4.0.2"));
  CHECK(!parse_open_mpi_version("Intel(R) MPI Library for Linux* OS, Version 2021.8"));
}

TEST_CASE("first failure: the earliest root wins, consequences do not", "[unit]") {
  const std::vector killed{torn_down(0, 10.2), ended(1, 137, 9, 10.0), torn_down(2, 10.1)};
  const auto first = first_failure(killed);
  REQUIRE(first);
  CHECK(first->rank.status.rank == 1);
  CHECK_THAT(
      first->what,
      ContainsSubstring("rank 1 on node was killed by signal 9 (KILL) in phase reduce of step 12"));
  CHECK(exit_code_for(first->rank.status) == 70);

  std::vector complained{ended(0, 70, 0, 9.9),
                         ended(1, 137, 9, 10.0)};  // clocks and schedulers are not perfect
  CHECK(first_failure(complained)->rank.status.rank == 0);
  complained[0].status.consequence = true;
  CHECK(first_failure(complained)->rank.status.rank == 1);

  std::vector spoke{ended(0, 70, 0, 10.0),
                    ended(1, 77, 0, 10.5)};  // 1 spoke first, then took longer to leave
  spoke[1].status.error = "NaN", spoke[1].status.error_unix = 9.5;
  CHECK(first_failure(spoke)->rank.status.rank == 1);
  CHECK(exit_code_for(first_failure(spoke)->rank.status) == 77);
}

TEST_CASE("first failure: leaving with 0 before the end is one; 75, done and torn down are not",
          "[unit]") {
  CHECK(!first_failure(std::vector{ended(0, 0, 0, 10, Phase::kDone), ended(1, 75, 0, 10)}));
  CHECK(!first_failure(std::vector{torn_down(0, 10)}));
  const auto early =
      first_failure(std::vector{torn_down(0, 11), ended(1, 0, 0, 10, Phase::kForward)});
  REQUIRE(early);
  CHECK(early->rank.status.rank == 1);
  RankStatus three;
  three.exit_code = 3;
  CHECK(exit_code_for(three) == 70);
}

TEST_CASE("restart policy: budget, progress, and codes that end it", "[unit]") {
  RestartPolicy none(0);
  CHECK(none.decide({70, false, false}).exit_code == 70);
  for (const int code : {0, 64, 65, 69, 75, 77, 78, 93}) {
    RestartPolicy policy(5);
    const Decision d = policy.decide({code, true, false});
    CHECK(!d.restart);
    CHECK(d.exit_code == code);
  }
  RestartPolicy one(1);
  CHECK(one.decide({71, false, false}).restart);
  CHECK(one.decide({71, false, false}).exit_code == 71);  // spent

  RestartPolicy stuck(10);
  CHECK(stuck.decide({70, false, false}).restart);
  CHECK(stuck.decide({70, false, false}).restart);
  CHECK(stuck.decide({70, false, false}).exit_code == 93);

  RestartPolicy moving(1);  // each failure after a newer checkpoint fills the budget again
  for (int i = 0; i < 20; ++i) REQUIRE(moving.decide({70, true, false}).restart);

  RestartPolicy asked(5);
  CHECK(!asked.decide({70, true, true}).restart);

  RestartPolicy remedied(
      1);  // a changed attempt costs nothing, and what failed before it was another run
  for (int i = 0; i < 9; ++i) REQUIRE(remedied.decide({78, false, false, true}).restart);
  CHECK(remedied.decide({70, false, false}).restart);
  CHECK(!RestartPolicy(0).decide({78, false, false, true}).restart);
  CHECK(!RestartPolicy(5).decide({78, false, true, true}).restart);
}
