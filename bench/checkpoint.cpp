// One rank of the checkpoint benchmark: fp32 weights, masters and moments of a transformer-like set
// of tensors are saved and loaded as a run saves and loads them. bench/checkpoint.sh starts it, and
// bench/checkpoint_peer.py does the same with torch.distributed.checkpoint, on the same bytes.
//
//   mpirun -n N bench_checkpoint FOLDER PARAMETERS ROUNDS       rank 0 prints one JSON object
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/tensors/tensor_memory.h"
#include "sharding/engine.h"
#include "sharding/state/shard_store.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/verify.h"
#include "trainer/checkpoint/weight_share.h"

using namespace muster;
using namespace muster::sharding;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kBucketBytes = 64 << 20;
constexpr std::int64_t kHidden = 2048;  // of square matrices; checkpoint_peer.py has the same

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Arguments {
  fs::path folder;
  std::int64_t parameters = 0;
  int rounds = 0;
};

std::vector<NamedTensor> make_parameters(std::int64_t parameters) {
  std::vector<NamedTensor> all;
  for (std::int64_t made = 0; made < parameters; made += kHidden * kHidden) {
    at::Tensor tensor = at::full({kHidden, kHidden}, 0.5 + 1e-3 * static_cast<double>(all.size()));
    all.push_back({fmt::format("layers.{}.weight", all.size()), tensor.set_requires_grad(true)});
  }
  return all;
}

// A fixed amount of arithmetic, as a forward and backward pass is for the training thread. Returns
// its seconds.
double compute() {
  const auto start = Clock::now();
  at::Tensor a = at::full({512, 512}, 1e-3);
  for (int i = 0; i < 400; ++i) a = at::matmul(a, a).clamp_(-1, 1);
  return seconds_since(start);
}

class Bench {
 public:
  Bench(const Arguments& arguments, std::shared_ptr<Collective> collective)
      : arguments_(arguments),
        collective_(std::move(collective)),
        parameters_(make_parameters(arguments.parameters)),
        engine_(ParamRegistry(parameters_, {{.name = "all", .prefixes = {""}}}, false), collective_,
                options()),
        store_(arguments.folder, *collective_, {.keep = 1, .patience = std::chrono::seconds(60)}) {
    one_step();
  }

  // The least of all rounds, on the rank that takes longest.
  struct Seconds {
    double blocked = 1e9, delay = 1e9, blocked_at_once = 1e9, write = 1e9, verify = 1e9, load = 1e9;
    double alone = 1e9;  // of compute()
  };
  Seconds run() {
    Seconds best;
    for (int round = 0; round < arguments_.rounds; ++round) {
      keep(best.alone, compute());
      save(2 * round + 1, best, /*computing=*/true);
      save(2 * round + 2, best, /*computing=*/false);
      load(2 * round + 2, best);
    }
    return best;
  }
  std::int64_t bytes() const {
    std::int64_t total = 0;
    for (const auto& [name, file] : manifest_.files) total += file.bytes;
    return total;
  }

 private:
  static EngineOptions options() {
    EngineOptions options;
    options.bucket_bytes = kBucketBytes;
    options.beta1 = 0.9;
    options.beta2 = 0.999;
    options.eps = 1e-8;
    return options;
  }

  // Moments and masters that are no zeros.
  void one_step() {
    for (const NamedTensor& p : parameters_)
      engine_.backward((p.tensor * p.tensor).sum(), &p == &parameters_.back());
    const StepVerdict verdict = engine_.consensus({}, {}, false);
    engine_.step(std::vector<double>{1e-3}, verdict);
    engine_.empty_partition_cache();
    engine_.await_all();
  }

  // [C] The slowest rank's seconds, when they are the least so far.
  void keep(double& best, double seconds) {
    std::vector<double> all(static_cast<std::size_t>(collective_->size()));
    all[static_cast<std::size_t>(collective_->rank())] = seconds;
    collective_->all_gather(std::as_writable_bytes(std::span(all)));  // [C]
    best = std::min(best, *std::ranges::max_element(all));
  }

  trainer::CheckpointStore::Job job() {
    struct Part {
      std::shared_ptr<ShardSnapshot> shard;
      trainer::WeightShare weights;
    };
    std::vector<trainer::WeightShare::Weight> weights;
    for (const NamedTensor& p : parameters_) weights.push_back({p.name, p.name, p.tensor});
    auto shard = engine_.begin_snapshot();
    auto part = std::make_shared<Part>(Part{shard, {weights, shard->header}});
    return {.copy =
                [this, part] {
                  engine_.fill_snapshot(*part->shard);
                  part->weights.copy();
                },
            .write =
                [part](const fs::path& folder) {
                  std::vector<std::string> names;
                  part->weights.write(folder, part->shard->tensors, names);
                  names.push_back(fmt::format("optimizer-{}.h5", part->shard->header.rank));
                  ZeroEngine::write(*part->shard, folder / names.back());
                  return names;
                }};
  }

  void save(std::int64_t step, Seconds& best, bool computing) {
    trainer::Manifest manifest;
    manifest.state.step = step;
    const auto start = Clock::now();
    store_.begin(manifest, job());  // [C]
    const double begun = seconds_since(start);
    const double busy = computing ? compute() : 0;
    const auto before_settling = Clock::now();
    store_.settle();
    const double blocked = begun + seconds_since(before_settling);
    keep(computing ? best.blocked : best.blocked_at_once, blocked);
    if (computing) keep(best.delay, blocked + std::max(0.0, busy - best.alone));
    store_.wait_written();
    keep(best.write, seconds_since(start));
    store_.commit();  // [C]
    store_.wait_committed();
    keep(best.write, 1e9);  // [C] no rank goes on before it is committed
    manifest_ = trainer::read_manifest(folder_of(step));
  }

  fs::path folder_of(std::int64_t step) const { return store_.root() / step_folder_name(step); }

  void load(std::int64_t step, Seconds& best) {
    const fs::path folder = folder_of(step);
    auto start = Clock::now();
    const std::string damage =
        trainer::Verification(folder, manifest_, collective_->rank(), collective_->size()).wait();
    keep(best.verify, seconds_since(start));
    start = Clock::now();
    trainer::Verification verification(folder, manifest_, collective_->rank(), collective_->size());
    // As in a run, weights that have masters are not read: the masters and the gather bring them.
    std::vector<fs::path> shards;
    for (int rank = 0; rank < collective_->size(); ++rank)
      shards.push_back(folder / fmt::format("optimizer-{}.h5", rank));
    engine_.load(shards);  // [C]
    engine_.await_all();
    if (!verification.wait().empty() || !damage.empty()) throw CheckpointError("damaged");
    keep(best.load, seconds_since(start));
  }

  Arguments arguments_;
  std::shared_ptr<Collective> collective_;
  std::vector<NamedTensor> parameters_;
  ZeroEngine engine_;
  trainer::CheckpointStore store_;
  trainer::Manifest manifest_;
};

void bench(const Arguments& arguments) {
  use_tensor_memory();
  at::set_num_threads(1);
  const std::shared_ptr<Collective> collective =
      make_node(make_mpi(std::chrono::seconds(600)), std::chrono::seconds(600));
  Bench bench(arguments, collective);
  const Bench::Seconds s = bench.run();
  if (collective->rank() != 0) return;
  fmt::print(
      R"({{"bytes":{},"blocked":{},"delay":{},"blocked_at_once":{},"write":{},"verify":{},"load":{}}})"
      "\n",
      bench.bytes(), s.blocked, s.delay, s.blocked_at_once, s.write, s.verify, s.load);
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  try {
    if (argc != 4) throw UsageError("bench_checkpoint FOLDER PARAMETERS ROUNDS");
    bench({.folder = argv[1],
           .parameters = std::strtoll(argv[2], nullptr, 10),
           .rounds = static_cast<int>(std::strtol(argv[3], nullptr, 10))});
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_checkpoint: {}\n", error.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return 0;
}
