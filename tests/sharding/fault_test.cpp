// What ranks, disks and schedules do to an engine.
#include <arpa/inet.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "sharding/collectives/collective_cases.h"
#include "sharding/loose.h"
#include "sharding/toy.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::test;

namespace {

// --- schedules ---

// Sleeps a random while before every collective, and writes down what it was.
class Fuzzed final : public Forwarding {
 public:
  Fuzzed(std::shared_ptr<Collective> inner, std::uint64_t seed, std::vector<std::string>& log)
      : Forwarding(std::move(inner)), rng_(seed, static_cast<std::uint64_t>(rank())), log_(log) {}

 protected:
  void before(const char* kind, std::size_t bytes) override {
    log_.push_back(std::string(kind) + " " + std::to_string(bytes));
    std::this_thread::sleep_for(
        std::chrono::microseconds(rng_.below(4) == 0 ? rng_.below(400) : 0));
  }

 private:
  Rng rng_;
  std::vector<std::string>& log_;
};

void expect_zero_gaps(const ZeroEngine& engine) {
  const auto snapshot = engine.snapshot();
  at::Tensor gap = at::ones({snapshot->header.layout.shard_elements()}, at::kBool);
  std::int64_t owned = 0;
  for (const Segment& s :
       owned_segments(snapshot->header.space, snapshot->header.layout, snapshot->header.rank)) {
    gap.narrow(0, s.shard_begin, s.count).fill_(false);
    owned += s.count;
  }
  expect_equal("elements of segments that do not overlap",
               gap.numel() - gap.sum().item<std::int64_t>(), owned);
  for (const at::Tensor& t :
       {snapshot->tensors.master, snapshot->tensors.exp_avg, snapshot->tensors.exp_avg_sq}) {
    expect_equal("elements of padding that are not zero",
                 t.masked_select(gap).count_nonzero().item<std::int64_t>(), 0);
  }
}

State train_loose(std::uint64_t seed, int world, const EngineOptions& options,
                  bool shuffled = false) {
  State state;
  std::mutex mutex;
  std::vector<std::string> hashes(world);
  on_ranks(world, [&](std::shared_ptr<Collective> collective) {
    const Loose model(seed);
    const int rank = collective->rank();
    ZeroEngine engine(model.registry(), collective, options);
    for (std::int64_t step = 0; step < 3; ++step) {
      for (std::int64_t k = rank; k < 10; k += world) {
        engine.backward(
            model.loss(step * 10 + k, shuffled ? static_cast<std::uint64_t>(100 * rank + k) : 1));
      }
      for (std::int64_t k = 10 / world + (rank < 10 % world); k < (10 + world - 1) / world; ++k)
        engine.backward({});
      const std::vector<double> rates{0, 1e-2, 1e-3};
      engine.step(rates, engine.consensus({}, {}, false));
      engine.empty_partition_cache();
      engine.await_all();
      expect_zero_gaps(engine);
    }
    const std::lock_guard lock(mutex);
    hashes[rank] = engine.layout_hash();
    add_state(engine, state);
  });
  REQUIRE(std::count(hashes.begin(), hashes.end(), hashes[0]) == world);
  return state;
}

}  // namespace

TEST_CASE("random models at 1 to 9 ranks: the same bits, zero padding, one hash", "[unit]") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const State expected = train_loose(seed, 1, toy_options(1 << 20, false));
    for (int world = 2; world <= 9; ++world) {
      if ((static_cast<std::uint64_t>(world) + seed) % 2 == 0) continue;
      INFO("model " << seed << ", " << world << " ranks");
      const std::int64_t bucket = 256 * world * static_cast<std::int64_t>(seed);
      REQUIRE(first_difference(
                  expected, train_loose(seed, world, toy_options(bucket, seed % 3 != 0), true)) ==
              "");
    }
  }
}

TEST_CASE("random delays and hook orders change neither the collectives nor the bits", "[unit]") {
  EngineOptions options = toy_options(2048);
  options.accumulation_budget_bytes = 5 * 2048;
  const ToyRun plain{.world = 3, .options = options, .steps = 3, .per_step = 6};
  const State expected = train_toy(plain);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    std::vector<std::string> logs[3];
    ToyRun fuzzed = plain;
    fuzzed.wrap = [&](std::shared_ptr<Collective> c) {
      const int rank = c->rank();
      return std::make_shared<Fuzzed>(std::move(c), seed, logs[rank]);
    };
    REQUIRE(first_difference(expected, train_toy(fuzzed)) == "");
    REQUIRE(logs[0].size() > 50);
    REQUIRE(logs[0] == logs[1]);
    REQUIRE(logs[0] == logs[2]);
  }
}

TEST_CASE("a rank without a micro-batch leaves the bits of one rank that skips it", "[unit]") {
  const auto train_with_gaps = [](int world) {
    State state;
    std::mutex mutex;
    on_ranks(world, [&](std::shared_ptr<Collective> collective) {
      const Toy toy;
      ZeroEngine engine(toy_registry(toy), collective, toy_options(1024));
      for (int step = 0; step < 3; ++step) {
        engine.await_all();
        for (int k = collective->rank(); k < 6; k += world) {
          engine.backward(k % 3 == 1 ? at::Tensor() : toy.loss(6 * step + k));
        }
        engine.step(kToyRates, engine.consensus({}, {}, false));
      }
      engine.await_all();
      const std::lock_guard lock(mutex);
      add_state(engine, state);
    });
    return state;
  };
  const State one = train_with_gaps(1);
  REQUIRE(first_difference(one, train_with_gaps(2)) == "");
  REQUIRE(first_difference(one, train_with_gaps(3)) == "");
}

TEST_CASE("counted bytes stay within the plan at every hand-over of every micro-batch", "[unit]") {
  for (const int world : {1, 2, 3}) {
    for (const std::int64_t budget : {0, 3000}) {
      on_ranks(world, [&](std::shared_ptr<Collective> collective) {
        std::vector<NamedTensor> chain;
        for (int i = 0; i < 12; ++i)
          chain.push_back({"model." + std::to_string(i),
                           random_tensor({16, 16}, static_cast<std::uint64_t>(i), 0.2)});
        EngineOptions options = toy_options(1024);
        options.accumulation_budget_bytes = budget;
        std::int64_t peak = 0;
        ZeroEngine* watched = nullptr;
        options.observer = [&](const CollectiveEvent&) {
          if (watched != nullptr) peak = std::max(peak, watched->bytes().total());
        };
        ZeroEngine engine(ParamRegistry(chain, {{"model", {"model."}}}, false), collective,
                          options);
        watched = &engine;
        for (int k = 0; k < 3; ++k) {
          at::Tensor x = at::ones({4, 16});
          for (const NamedTensor& t : chain) x = x.matmul(t.tensor).tanh();
          engine.backward(x.sum());
        }
        const double rates[]{1e-3};
        engine.step(rates, engine.consensus({}, {}, false));
        engine.await_all();
        PlanInput input = plan_input(engine.registry(), world, 1024);
        input.accumulation_budget_bytes = budget;
        const MemoryPlan plan = plan_memory(input);
        const std::int64_t promised =
            plan.bytes.total() + plan.transient.staging + plan.transient.receive;
        expect(peak > plan.bytes.total(), "nothing was staged");
        expect(static_cast<double>(peak) <= 1.02 * static_cast<double>(promised),
               fmt::format("{} bytes at the peak, {} planned", peak, promised));
      });
    }
  }
}

TEST_CASE(
    "a rank that stops coming is an error in the others' engines, at the next call that waits",
    "[unit][fault]") {
  for (const bool overlap : {false, true}) {
    std::atomic<int> told = 0;
    on_ranks(
        3,
        [&](std::shared_ptr<Collective> collective) {
          const Toy toy;
          ZeroEngine engine(toy_registry(toy), collective, toy_options(2048, overlap));
          toy_step(engine, toy, 0, 3);
          engine.await_all();
          if (collective->rank() == 1) return;
          try {
            engine.backward(toy.loss(1));
            engine.consensus({}, {}, false);
          } catch (const CollectiveError& e) {
            told += std::string(e.what()).find("another rank did not come") != std::string::npos;
          }
        },
        4.0);  // also what a slow machine has to meet in
    REQUIRE(told == 2);
  }
}

// --- processes that die ---

namespace {

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

class Process {
 public:
  explicit Process(std::vector<std::string> command) {
    std::vector<char*> arguments;
    for (std::string& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    REQUIRE(::posix_spawnp(&id_, arguments[0], nullptr, nullptr, arguments.data(), environ) == 0);
  }
  ~Process() {
    if (!ended_) {
      ::kill(id_, SIGKILL);
      ::waitpid(id_, nullptr, 0);
    }
  }
  // False when it still runs at the end of a generous while.
  bool ends() {
    for (int i = 0; i < 1200 && !ended_; ++i) {
      ended_ = ::waitpid(id_, &status_, WNOHANG) == id_;
      if (!ended_) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return ended_;
  }
  bool killed() const { return WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL; }

 private:
  pid_t id_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

void require_told(const fs::path& dir) {
  for (const int survivor : {0, 2}) {
    const fs::path file = dir / ("rank-" + std::to_string(survivor));
    INFO(file.string());
    REQUIRE(fs::exists(file));
    REQUIRE_THAT(read_text(file), Catch::Matchers::StartsWith("CollectiveError"));
  }
  REQUIRE_FALSE(fs::exists(dir / "rank-1"));
}

std::string victim() { return (build_dir() / "victim_rank").string(); }

}  // namespace

TEST_CASE("gloo: a rank killed in a reduction or a gather is an error on all others", "[fault]") {
  for (const std::string kind : {"all_to_all", "all_gather", "reduce_scatter_sum"}) {
    INFO(kind);
    const TempDir dir;
    const std::string port = std::to_string(free_port());
    std::vector<std::unique_ptr<Process>> ranks;
    for (int r = 0; r < 3; ++r) {
      ranks.push_back(std::make_unique<Process>(std::vector<std::string>{
          victim(), "gloo", kind, dir.path().string(), std::to_string(r), "3", port}));
    }
    for (const auto& rank : ranks) REQUIRE(rank->ends());
    REQUIRE(ranks[1]->killed());
    require_told(dir.path());
  }
}

// mpirun would end the others at once; told to go on, they find out by the timeout of their
// collective.
TEST_CASE("mpi: a rank killed in a reduction or a gather is an error on all others", "[fault]") {
  for (const auto& [backend, kind] :
       std::vector<std::pair<std::string, std::string>>{{"mpi", "all_to_all"},
                                                        {"mpi", "all_gather"},
                                                        {"node", "all_to_all"},
                                                        {"node", "all_gather"}}) {
    INFO(backend << " " << kind);
    const TempDir dir;
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
    Process mpirun({"mpirun", "--oversubscribe", "--bind-to", "none", "--enable-recovery", "-n",
                    "3", victim(), backend, kind, dir.path().string()});
    REQUIRE(mpirun.ends());
    require_told(dir.path());
  }
}
