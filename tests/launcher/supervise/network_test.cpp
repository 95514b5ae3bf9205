// Several hosts on one machine: network namespaces with names of their own, joined by a bridge, in
// which mpirun starts daemons through an agent as it would through ssh. Needs root and iproute2.
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/commands/node_preflight.h"
#include "launcher/supervise/fake_world.h"
#include "launcher/supervise/survivors.h"

using namespace muster;
using namespace muster::launcher;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;

namespace {

// h0 holds mpirun, h1 and h2 the ranks: 10.99.0.1, .11, .12.
class Network {
 public:
  Network() : prefix_(fmt::format("mu{}", ::getpid() % 100000)) {
    const std::string p = prefix_;
    if (::geteuid() != 0 ||
        !sh("ip netns add " + p + "h0 && ip netns exec " + p + "h0 unshare --uts true")) {
      remove();
      SKIP("network namespaces need root, iproute2 and the right to make them");
    }
    bool up =
        sh(fmt::format("ip -n {0}h0 link set lo up && ip -n {0}h0 link add br0 type bridge && ip "
                       "-n {0}h0 link set br0 "
                       "up && ip -n {0}h0 addr add 10.99.0.1/24 dev br0",
                       p));
    for (const int host : {1, 2}) {
      up = up && sh(fmt::format("ip netns add {0}h{1} && ip -n {0}h{1} link set lo up && ip -n "
                                "{0}h0 link add v{1} type veth "
                                "peer name eth0 netns {0}h{1} && ip -n {0}h0 link set v{1} master "
                                "br0 up && ip -n {0}h{1} addr "
                                "add 10.99.0.1{1}/24 dev eth0 && ip -n {0}h{1} link set eth0 up",
                                p, host));
    }
    if (!up) {
      remove();
      SKIP("this kernel lets nobody make veth pairs and bridges");
    }
    script("agent",
           "host=$1; shift\nexec ip netns exec " + p +
               "$host unshare --uts sh -c 'hostname \"$0\"; exec sh -c \"$*\"' \"$host\" \"$@\"\n");
    script("mpirun", "exec ip netns exec " + p + "h0 mpirun \"$@\"\n");
  }
  ~Network() { remove(); }
  void cut_off(int host) const { sh(fmt::format("ip -n {}h0 link set v{} down", prefix_, host)); }
  std::string mpirun() const { return (dir_.path() / "mpirun").string(); }
  std::string agent() const { return (dir_.path() / "agent").string(); }

 private:
  void remove() const {
    for (const int host : {0, 1, 2}) sh(fmt::format("ip netns del {}h{}", prefix_, host));
  }
  static bool sh(const std::string& line) {
    return std::system(("(" + line + ") >/dev/null 2>&1").c_str()) == 0;
  }
  void script(const char* name, const std::string& text) const {
    write_text(dir_.path() / name, "#!/bin/sh\n" + text);
    fs::permissions(dir_.path() / name, fs::perms::owner_all);
  }

  std::string prefix_;
  TempDir dir_{"muster-net"};
};

void spread(fake::World& world, const Network& network) {
  world.spec.starter.program = network.mpirun();
  world.spec.placement.hosts = {{"h1", 2}, {"h2", 2}};
  world.spec.restart.micro_batches = 4;
  world.spec.environment = {{"OMPI_MCA_plm_rsh_agent", network.agent()},
                            {"OMPI_MCA_btl", "tcp,self"}};
}

}  // namespace

TEST_CASE("network: ranks on two hosts finish; every node answers the preflight",
          "[fault][ranks]") {
  const Network network;
  fake::World world(4, {"--steps", "4"});
  spread(world, network);
  const LaunchResult result = world.run("two hosts");
  CHECK(result.exit_code == 0);
  CHECK(read_rank_status(world.spec.run_dir, 0)->host == "h1");
  CHECK(read_rank_status(world.spec.run_dir, 3)->host == "h2");
  CHECK(silent_hosts(world.spec, world.spec.placement.hosts).empty());

  const fs::path config = test::source_dir() / "configs/demo.yaml";
  const auto answers =
      ask_nodes(world.spec, 2,
                {(test::build_dir() / "muster").string(), "doctor", config.string(), "--set",
                 "run.dir=" + world.spec.run_dir.string()});
  INFO(answers.output);
  REQUIRE(answers.nodes.size() == 2);
  CHECK(answers.nodes[0].host == "h1");
  CHECK(!any_failed(judge_equality(answers.nodes)));
}

TEST_CASE("network: a host on which a rank fails twice without progress is left out",
          "[fault][ranks]") {
  const Network network;
  fake::World world(4,
                    {"--fault", "abort", "--fault-rank", "3", "--fault-step", "0", "--steps", "4"});
  spread(world, network);
  world.spec.restart.max_restarts = 3;
  world.spec.restart.min_ranks = 2;
  const LaunchResult result = world.run("bad host");
  CHECK(result.exit_code == 0);
  CHECK(result.attempts.size() == 3);
  REQUIRE(result.changes.size() == 1);
  CHECK_THAT(result.changes[0].what,
             ContainsSubstring("without h2 (its ranks keep failing there), on 2 ranks"));
}

TEST_CASE("network: a host is cut off: it is named, and the run goes on without it",
          "[fault][ranks][.slow]") {
  const Network network;
  fake::World world(4, {"--steps", "200", "--step-ms", "50", "--checkpoint-every", "5"});
  spread(world, network);
  world.spec.watch.limits = {60, 60, 60};  // mpirun's daemons find out first
  world.spec.restart.max_restarts = 1;
  world.spec.restart.min_ranks = 2;
  const pid_t helper = fake::when_ready(world, [&](pid_t) {
    while (newest_checkpoint(world.spec.run_dir) < 5) std::this_thread::sleep_for(20ms);
    network.cut_off(2);
  });
  const LaunchResult result = world.run("cut off");
  ::waitpid(helper, nullptr, 0);
  CHECK(result.exit_code == 0);
  REQUIRE(result.attempts.size() == 2);
  CHECK(result.attempts[0].exit_code == 70);
  REQUIRE(result.changes.size() == 1);
  CHECK_THAT(result.changes[0].what,
             ContainsSubstring("without h2 (no answer), on 2 ranks (R-007)"));
  CHECK(read_flight_log(flight_file(world.spec.run_dir, 1))->host == "h1");
}
