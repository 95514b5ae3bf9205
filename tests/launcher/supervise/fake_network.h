// Several hosts on one machine: network namespaces with names of their own, joined by a bridge, in
// which mpirun starts daemons through an agent as it would through ssh. Needs root and iproute2.
#pragma once

#include <fmt/core.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "base/process/process_tree.h"
#include "launcher/supervise/fake_world.h"

namespace muster::launcher::fake {

// h0 holds mpirun, h1 and h2 the ranks: 10.99.0.1, .11, .12. `enter`: shell words that run on a
// host before anything else there, in a mount namespace of its own, with its name in $0.
class Network {
 public:
  explicit Network(const std::string& enter = "true")
      : prefix_(fmt::format("mu{}", ::getpid() % 100000)) {
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
    script("agent", "host=$1; shift\nexec ip netns exec " + p +
                        "$host unshare --uts --mount sh -c 'hostname "
                        "\"$0\"; " +
                        enter + " && exec sh -c \"$*\"' \"$host\" \"$@\"\n");
    // The mpirun that PATH has now: later this one may stand there first.
    script("mpirun", "exec ip netns exec " + p + "h0 " +
                         run_captured({"/bin/sh", "-c", "printf %s \"$(command -v mpirun)\""},
                                      std::chrono::seconds(20))
                             .output +
                         " \"$@\"\n");
  }
  ~Network() { remove(); }
  void cut_off(int host) const { sh(fmt::format("ip -n {}h0 link set v{} down", prefix_, host)); }
  // What a host has put on its one link so far.
  std::int64_t sent_bytes(int host) const {
    const CapturedRun read =
        run_captured({"ip", "netns", "exec", fmt::format("{}h{}", prefix_, host), "cat",
                      "/sys/class/net/eth0/statistics/tx_bytes"},
                     std::chrono::seconds(20));
    INFO(read.output);
    REQUIRE(read.exit_code == 0);
    return std::stoll(read.output);
  }
  std::string mpirun() const { return (dir_.path() / "mpirun").string(); }
  fs::path folder() const { return dir_.path(); }  // of mpirun
  // For mpirun and its daemons, of Open MPI 4 and 5.
  std::map<std::string, std::string> environment() const {
    const std::string agent = (dir_.path() / "agent").string();
    return {{"OMPI_MCA_plm_rsh_agent", agent},
            {"PRTE_MCA_plm_ssh_agent", agent},
            {"OMPI_MCA_btl", "tcp,self"}};
  }

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

inline void spread(World& world, const Network& network) {
  world.spec.starter.program = network.mpirun();  // of the same version
  world.spec.placement.hosts = {{"h1", 2}, {"h2", 2}};
  world.spec.restart.micro_batches = 4;
  world.spec.environment = network.environment();
}

}  // namespace muster::launcher::fake
