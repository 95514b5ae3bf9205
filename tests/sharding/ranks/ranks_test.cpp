// The real backends, under mpirun: the same bits as N threads of one process, and as one rank.
#include <mpi.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <fstream>

#include "base/error.h"
#include "sharding/collectives/collective_cases.h"
#include "sharding/toy.h"

using namespace muster;
using namespace muster::test;

namespace {

constexpr std::chrono::seconds kTimeout{30};
constexpr std::int64_t kSteps = 6, kPerStep = 12;

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}
int world_size() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

// Ports follow from rank 0's process id, so that two runs on one machine do not meet.
std::unique_ptr<Collective> gloo() {
  static int next = 0;
  int port = 20000 + static_cast<int>(getpid() % 9000) * 4 + next++ % 4;
  MPI_Bcast(&port, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return make_gloo({.host = "127.0.0.1", .port = port, .token = "ranks"}, world_rank(),
                   world_size(), kTimeout);
}

std::unique_ptr<Collective> node(int per_node = 0) {
  return make_node(make_mpi(kTimeout), kTimeout, per_node);
}

// This rank's part of what training leaves.
State train(std::shared_ptr<Collective> collective, const EngineOptions& options) {
  const Toy toy;
  ZeroEngine engine(toy_registry(toy), std::move(collective), options);
  for (std::int64_t step = 0; step < kSteps; ++step) toy_step(engine, toy, step, kPerStep);
  engine.await_all();
  State state;
  for (const Param& p : engine.registry().trainable()) state[p.name] = raw_bytes(p.tensor);
  return state;
}

State expected(int world, const EngineOptions& options = toy_options()) {
  State state =
      train_toy({.world = world, .options = options, .steps = kSteps, .per_step = kPerStep});
  std::erase_if(state, [](const auto& entry) {
    return entry.first == "norms" || entry.first.find('/') != std::string::npos;
  });
  return state;
}

}  // namespace

TEST_CASE("mpi and gloo do what the interface says", "[ranks]") {
  check_collective(*make_mpi(kTimeout));
  check_collective(*make_mpi(kTimeout), 3 << 20);
  check_collective(*make_checked(make_mpi(kTimeout)));
  check_collective(*node());
  check_collective(*gloo());
  check_collective(*make_checked(gloo()));
}

TEST_CASE("training over mpi and gloo has the bits of one rank and of N threads", "[ranks]") {
  const State one = expected(1);
  REQUIRE((one == expected(world_size())));
  for (const std::int64_t bucket : {1024, 1 << 20}) {
    for (const bool overlap : {false, true}) {
      INFO("bucket " << bucket << (overlap ? " overlap" : ""));
      REQUIRE((train(make_mpi(kTimeout), toy_options(bucket, overlap)) == one));
      REQUIRE((train(node(), toy_options(bucket, overlap)) == one));
      REQUIRE((train(gloo(), toy_options(bucket, overlap)) == one));
    }
  }
}

TEST_CASE("a tree over mpi and gloo has the bits of one rank, whatever the nodes", "[ranks]") {
  EngineOptions options = toy_options();
  options.reduce = ReduceKind::kTree;
  options.micro_batches_per_rank = kPerStep;
  const State one = expected(1, options);
  for (const int per_node : {1, 2}) {
    if (world_size() % per_node != 0) continue;
    options.ranks_per_node = per_node;
    REQUIRE((train(make_mpi(kTimeout), options) == one));
    REQUIRE((train(make_checked(make_mpi(kTimeout)), options) == one));
    REQUIRE((train(node(), options) == one));
    REQUIRE((train(node(per_node), options) == one));
    REQUIRE((train(gloo(), options) == one));
  }
}

TEST_CASE("local accumulation over mpi and gloo has the bits of N threads", "[ranks]") {
  EngineOptions options = toy_options();
  options.accumulation_budget_bytes = 5 * 4096;
  const State threads = expected(world_size(), options);
  REQUIRE((train(make_mpi(kTimeout), options) == threads));
  REQUIRE((train(node(), options) == threads));
  REQUIRE((train(gloo(), options) == threads));
}

TEST_CASE("an optimizer on the host has the bits of one beside the parameters", "[ranks]") {
  const State one = expected(1);
  for (const bool overlap : {false, true}) {
    EngineOptions options = toy_options(2048, overlap);
    options.optimizer_device = OptimizerDevice::kHost;
    options.apart = [](std::string_view /*what*/, int /*window*/) {};
    REQUIRE((train(make_mpi(kTimeout), options) == one));
    REQUIRE((train(node(), options) == one));
    REQUIRE((train(gloo(), options) == one));
  }
}

TEST_CASE("ranks of one machine hold the parameters once", "[ranks]") {
  if (world_size() == 1) SKIP("one rank shares with nobody");
  const Toy toy;
  const ZeroEngine engine(toy_registry(toy), node(), toy_options());
  MPI_Barrier(MPI_COMM_WORLD);
  if (world_rank() == 1) toy.tensor("head.weight").detach().fill_(42);
  MPI_Barrier(MPI_COMM_WORLD);
  REQUIRE(toy.tensor("head.weight").min().item<float>() == 42);
}

TEST_CASE("two machines of two ranks hold the parameters once each", "[ranks]") {
  if (world_size() != 4) SKIP("takes four ranks");
  REQUIRE((train(node(2), toy_options()) == expected(1)));
  REQUIRE((train(make_checked(node(2)), toy_options()) == expected(1)));
  const Toy toy;
  const ZeroEngine engine(toy_registry(toy), node(2), toy_options());
  MPI_Barrier(MPI_COMM_WORLD);
  if (world_rank() % 2 == 1) toy.tensor("head.weight").detach().fill_(world_rank());
  MPI_Barrier(MPI_COMM_WORLD);
  const int neighbour = world_rank() / 2 * 2 + 1;  // who filled it, of each pair
  REQUIRE(toy.tensor("head.weight").min().item<float>() == static_cast<float>(neighbour));
}

TEST_CASE("checking every collective changes nothing but the time", "[ranks]") {
  REQUIRE((train(make_checked(make_mpi(kTimeout)), toy_options()) == expected(1)));
  REQUIRE((train(make_checked(node()), toy_options()) == expected(1)));
}

TEST_CASE("the reduce-scatter of mpi and gloo trains alike", "[ranks]") {
  EngineOptions options = toy_options();
  options.reduce = ReduceKind::kNative;
  const State ordered = expected(1);
  REQUIRE(distance(ordered, train(make_mpi(kTimeout), options)) < 2e-3);
  REQUIRE(distance(ordered, train(gloo(), options)) < 2e-3);
  options.wire_dtype = WireDtype::kBFloat16;
  REQUIRE(distance(ordered, train(make_mpi(kTimeout), options)) < 0.1);
  REQUIRE(distance(ordered, train(gloo(), options)) < 0.1);
}

// Hidden: `mpirun -n 2 build/ranks_sharding --world 2 "[wire]"` on a quiet machine. Compares what
// Gloo says it sent with what the loopback device carried.
TEST_CASE("bytes on the loopback device", "[.][wire]") {
  const auto carried = [] {
    std::ifstream file("/proc/net/dev");
    for (std::string line; std::getline(file, line);) {
      if (line.find("lo:") != std::string::npos) return std::stoll(line.substr(line.find(':') + 1));
    }
    return 0LL;
  };
  const auto collective = gloo();
  std::vector<std::byte> send(static_cast<std::size_t>(world_size()) << 24), all(send.size()),
      receive(1 << 24);
  const auto measure = [&](const char* what, auto call) {
    MPI_Barrier(MPI_COMM_WORLD);
    const long long before = carried();
    std::int64_t sent = -collective->stats().bytes_sent, counted = 0;
    call();
    sent += collective->stats().bytes_sent;
    MPI_Allreduce(&sent, &counted, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    if (world_rank() == 0)
      std::printf("%-12s counted %lld, loopback %lld\n", what, static_cast<long long>(counted),
                  carried() - before);
  };
  measure("all-to-all", [&] { collective->all_to_all(send, all); });
  measure("native", [&] { collective->reduce_scatter_sum(send, receive, WireDtype::kFloat32); });
  measure("all-gather", [&] { collective->all_gather(all); });
}

TEST_CASE("a checked collective turns a mismatch into an error on every rank", "[ranks][fault]") {
  if (world_size() == 1) SKIP("one rank cannot disagree");
  for (const bool over_mpi : {true, false}) {
    const auto collective = make_checked(over_mpi ? make_mpi(kTimeout) : gloo());
    std::vector<std::int64_t> values(world_rank() == 0 ? 3 : 4);
    REQUIRE_THROWS_AS(collective->all_reduce_sum(values), CollectiveError);
  }
}

TEST_CASE("a rank that does not come ends in an error that names the collective",
          "[ranks][fault]") {
  if (world_size() == 1) SKIP("one rank never waits");
  const auto collective = make_mpi(std::chrono::milliseconds(300));
  std::vector<std::int64_t> values(4);
  if (world_rank() == 0) {
    try {
      collective->all_reduce_sum(values);
      FAIL("nobody else came");
    } catch (const CollectiveError& e) {
      REQUIRE(std::string(e.what()).find("all_reduce_sum of 32 bytes (collective 1)") !=
              std::string::npos);
    }
  }
  MPI_Barrier(MPI_COMM_WORLD);
}
