#include "launcher/supervise/command_builder.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>

#include "base/text.h"

using namespace muster;
using namespace muster::launcher;
using Catch::Matchers::ContainsSubstring;

namespace {

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

// What stands between the starter and the first "-x" or the wrapper.
std::string golden(const LaunchSpec& spec) {
  const std::string line = join(build_command(spec, 0).argv, " ");
  const std::size_t x = line.find(" -x "), wrapper = line.find(" /bin/muster-rank-wrap");
  return line.substr(0, std::min(x, wrapper));
}

}  // namespace

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

TEST_CASE("command builder: hosts, ranks per node and binding, for each starter, golden",
          "[unit]") {
  LaunchSpec plain = small_spec(), spread = small_spec(), core = small_spec(),
             socket = small_spec();
  spread.placement.hosts = {{"a", 2}, {"b", 2}};
  spread.placement.ranks_per_node = 2;
  core.placement.cpu_binding = configs::CpuBinding::kCore;
  socket.placement.cpu_binding = configs::CpuBinding::kSocket;
  LaunchSpec all = spread;
  all.placement.cpu_binding = configs::CpuBinding::kCore;
  struct Row {
    StarterKind starter;
    const char *plain, *spread, *core, *socket, *all;
  };
  for (const Row& row : {
           Row{StarterKind::kMpirun4, "mpirun -n 4 --oversubscribe --bind-to none",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node --bind-to none",
               "mpirun -n 4 --oversubscribe --map-by slot:PE=3 --bind-to core",
               "mpirun -n 4 --oversubscribe --bind-to socket",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node:PE=3 --bind-to core"},
           Row{StarterKind::kMpirun5, "mpirun -n 4 --map-by :OVERSUBSCRIBE --bind-to none",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node --bind-to none",
               "mpirun -n 4 --map-by slot:PE=3:OVERSUBSCRIBE --bind-to core",
               "mpirun -n 4 --map-by :OVERSUBSCRIBE --bind-to socket",
               "mpirun -n 4 --host a:2,b:2 --map-by ppr:2:node:PE=3 --bind-to core"},
           Row{StarterKind::kSrun,
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
      spec->starter.kind = row.starter;
      spec->starter.program = row.starter == StarterKind::kSrun ? "srun" : "mpirun";
    }
    CHECK(golden(plain) == row.plain);
    CHECK(golden(spread) == row.spread);
    CHECK(golden(core) == row.core);
    CHECK(golden(socket) == row.socket);
    CHECK(golden(all) == row.all);
  }
  plain.placement.in_allocation = true;
  plain.placement.avoid = {"n3", "n4"};
  CHECK_THAT(golden(plain), ContainsSubstring(" --exclude=n3,n4 "));
  plain.starter.kind = StarterKind::kMpirun5;
  plain.starter.program = "mpirun";
  CHECK(golden(plain) == "mpirun -n 4 --bind-to none");
}

TEST_CASE(
    "command builder: several hosts find a lost one soon; one GPU per rank; a rung of the ladder; "
    "probes",
    "[unit]") {
  LaunchSpec spec = small_spec();
  CHECK(!build_command(spec, 0).environment.contains("OMPI_MCA_oob_tcp_keepalive_time"));
  spec.placement.hosts = {{"a", 2}, {"b", 2}};
  CHECK(build_command(spec, 0).environment.contains("OMPI_MCA_oob_tcp_keepalive_time"));
  spec.starter.kind = StarterKind::kMpirun5;
  CHECK(build_command(spec, 0).environment.contains("PRTE_MCA_oob_tcp_keepalive_time"));
  spec.starter.kind = StarterKind::kMpirun4;
  spec.placement.one_gpu = true;
  spec.watch.local_boxes = true;
  spec.watch.beat_token = "abc";
  spec.restart.ladder = {{"less", {"a.b=1"}}, {"least", {"a.b=1", "c.d=2"}}};
  spec.restart.rung = 2;
  CHECK_THAT(join(build_command(spec, 0).argv, " "),
             ContainsSubstring(
                 " --attempt 0 --one-gpu --local-box --beats abc -- /bin/muster train c.yaml "
                 "--set a.b=1 --set c.d=2"));
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
