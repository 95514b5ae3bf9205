#include "sharding/plan/simulator.h"

#include <algorithm>
#include <cmath>

#include "sharding/kernels/reduce_tree.h"
#include "sharding/layout/flat_space.h"
#include "sharding/plan/memory_plan.h"

namespace muster::sharding {
namespace {

double transfer(double bytes, const Link& link) { return bytes > 0 ? bytes / link.bytes_per_s : 0; }
double rounds(int ranks) { return std::ceil(std::log2(static_cast<double>(ranks))); }

struct Split {
  explicit Split(int world_size, const Network& network)
      : near(std::min(network.ranks_per_node, world_size)), nodes((world_size + near - 1) / near) {}
  int near;  // ranks of a node, this one included
  int nodes;
};

double both_latencies(const Split& split, const Network& network) {
  return rounds(split.near) * network.node.latency_s +
         rounds(split.nodes) * network.cluster.latency_s;
}

// Every rank takes part with all bytes at each doubling, up and down.
double all_reduce_seconds(std::int64_t bytes, int world_size, const Network& network) {
  if (world_size == 1) return 0;
  const Split split(world_size, network);
  const auto all = 2.0 * static_cast<double>(bytes);
  return 2 * both_latencies(split, network) +
         (split.nodes > 1 ? transfer(all, network.cluster) : transfer(all, network.node));
}

class StepModel {
 public:
  explicit StepModel(const SimulationInput& input)
      : in_(input),
        layout_(input.trainable_elements, input.world_size, input.bucket_bytes / input.wire_bytes),
        first_local_(first_local_window(layout_, input.accumulation_budget_bytes)),
        gathered_(layout_.num_windows(), 0.0) {}

  // Runs steps until the first one's missing gathers are forgotten; the last is the result.
  Simulation run() {
    constexpr int kSteps = 4;
    for (int i = 0; i < kSteps; ++i) step();
    return std::move(result_);
  }

 private:
  int windows() const { return layout_.num_windows(); }
  double share(int window) const {
    return static_cast<double>(layout_.window(window).elements) /
           static_cast<double>(layout_.padded_elements());
  }

  void step() {
    start_ = main_;
    result_ = {};
    for (std::int64_t k = 0; k < in_.micro_batches_per_rank; ++k) {
      last_ = k + 1 == in_.micro_batches_per_rank;
      forward();
      backward();
    }
    consensus();
    update();
    result_.step_s = main_ - start_;
    result_.exposed_s = result_.step_s - result_.compute_s;
  }

  // The first parameters lie in the last windows. At the loop's entry every window after w holds
  // its new parameters; after the first micro-batch nothing is left to wait for.
  void forward() {
    for (int w = windows() - 1; w >= 0; --w) {
      wait(gathered_[w]);
      compute(Work::kForward, w, share(w) * in_.forward_s);
    }
  }

  // A window's gradients need one of kStagingWindows buffers: the reduction that many windows ago
  // must have given its own back. At the loop's entry all windows before `w` and `deferred` are on
  // their way, in order, and reduced_ says when each is done.
  void backward() {
    const int tied = in_.deferred_from < 0
                         ? windows()
                         : static_cast<int>(in_.deferred_from / layout_.window_elements());
    const int deferred = std::min(tied, first_local_);
    for (int w = 0; w < windows(); ++w) {
      compute(Work::kBackward, w, share(w) * (in_.backward_s + in_.copy_s));
      if (w >= deferred) continue;
      if (reduced_.size() >= kStagingWindows) wait(reduced_[reduced_.size() - kStagingWindows]);
      reduce(w);
    }
    for (int w = deferred; w < first_local_; ++w) reduce(w);
  }

  void reduce(int window) {
    const std::int64_t bytes = layout_.window(window).elements * in_.wire_bytes;
    post(Work::kReduce, window, reduce_seconds(bytes) + share(window) * add_seconds(), bytes,
         main_);
    reduced_.push_back(wire_);
    if (!last_ || !in_.update_on_host) return;
    fetched_ = std::max(fetched_, wire_) + share(window) * in_.fetch_s;
    if (!in_.overlap) main_ = fetched_;
  }

  double reduce_seconds(std::int64_t bytes) const {
    if (in_.native_reduce) return all_gather_seconds(bytes, in_.world_size, in_.network);
    return in_.tree_reduce ? tree_seconds(bytes, in_.wire_bytes, in_.world_size, in_.network)
                           : all_to_all_seconds(bytes, in_.world_size, in_.network);
  }

  // Each phase but the last also sorts what it sends: a pass more.
  double add_seconds() const {
    if (!in_.tree_reduce) return in_.add_s;
    double passes = 0, part = 1;
    for (const int radix : reduce_radices(in_.world_size, in_.network.ranks_per_node)) {
      passes += 2 * part;
      part /= radix;
    }
    return (passes - 1) * in_.add_s;
  }

  void consensus() {
    for (int w = first_local_; w < windows(); ++w) reduce(w);
    wait(wire_);
    wait(post(Work::kConsensus, -1,
              all_reduce_seconds(in_.consensus_bytes, in_.world_size, in_.network), 0, main_));
    reduced_.clear();
  }

  // At the loop's entry all windows after w are updated, and gathered or on their way. A host
  // starts when it has every gradient, and does not hold back what computes.
  void update() {
    double host = in_.update_on_host ? fetched_ : 0;
    for (int w = windows() - 1; w >= 0; --w) {
      if (in_.update_on_host)
        host = std::max(host, main_) + share(w) * in_.update_s;
      else
        compute(Work::kUpdate, w, share(w) * in_.update_s);
      const std::int64_t bytes = layout_.window(w).elements * in_.param_bytes;
      const double copy = in_.update_on_host ? share(w) * in_.put_back_s : 0;
      const double gather = all_gather_seconds(bytes, in_.world_size, in_.network);
      gathered_[w] = post(Work::kGather, w, copy + gather, bytes, std::max(main_, host));
    }
  }

  void compute(Work work, int window, double seconds) {
    record(work, window, main_, main_ + seconds);
    main_ += seconds;
    result_.compute_s += seconds;
  }

  // The wire takes it when it is free, and not before `ready`. Returns when it is done.
  double post(Work work, int window, double seconds, std::int64_t buffer_bytes, double ready) {
    const double begin = std::max(wire_, ready);
    wire_ = begin + seconds;
    if (!in_.overlap) main_ = wire_;
    result_.wire_s += seconds;
    result_.sent_bytes += buffer_bytes / in_.world_size * (in_.world_size - 1);
    if (in_.world_size > 1) record(work, window, begin, wire_);
    return wire_;
  }

  void wait(double until) { main_ = std::max(main_, until); }
  void record(Work work, int window, double begin, double end) {
    result_.events.push_back({work, window, begin - start_, end - start_});
  }

  const SimulationInput& in_;
  const ShardLayout layout_;
  const int first_local_;         // windows from here on accumulate on each rank
  std::vector<double> gathered_;  // per window: when its newest gather is done
  std::vector<double> reduced_;   // per reduction of this step: when it is done
  double main_ = 0;               // clock of the lane that computes
  double wire_ = 0;               // clock of the lane that carries collectives
  double fetched_ = 0;            // the host has all gradients reduced so far
  bool last_ = false;             // the micro-batch is the step's last
  double start_ = 0;              // of this step, on the first clock
  Simulation result_;
};

}  // namespace

std::string_view work_name(Work work) {
  constexpr std::string_view kNames[] = {"forward", "backward",  "update",
                                         "reduce",  "consensus", "gather"};
  return kNames[static_cast<int>(work)];
}

// Each pair of ranks has its own chunk: what leaves a rank for other nodes goes through its own
// port. Both ways at once.
double all_to_all_seconds(std::int64_t bytes, int world_size, const Network& network) {
  if (world_size == 1) return 0;
  const Split split(world_size, network);
  const double chunk = static_cast<double>(bytes) / world_size;
  const double latency = split.nodes > 1 ? network.cluster.latency_s : network.node.latency_s;
  const double near = transfer(chunk * (split.near - 1), network.node);
  const double far = transfer(chunk * (world_size - split.near), network.cluster);
  return latency + network.message_s * (world_size - 1) + std::max(near, far);
}

double tree_seconds(std::int64_t bytes, int wire_bytes, int world_size, const Network& network) {
  double seconds = 0;
  auto left = static_cast<double>(bytes);
  int stride = 1;
  for (const int radix : reduce_radices(world_size, network.ranks_per_node)) {
    const Link& link = stride * radix > network.ranks_per_node ? network.cluster : network.node;
    if (radix > 1)
      seconds += link.latency_s + network.message_s * (radix - 1) +
                 transfer(left / radix * (radix - 1), link);
    left = left / radix * (stride == 1 ? 4.0 / wire_bytes : 1);
    stride *= radix;
  }
  return seconds;
}

// A node's ranks fetch every foreign chunk once, each through its own port, and pass it on inside.
double all_gather_seconds(std::int64_t bytes, int world_size, const Network& network) {
  if (world_size == 1) return 0;
  const Split split(world_size, network);
  const double chunk = static_cast<double>(bytes) / world_size;
  const double near = transfer(chunk * (world_size - 1), network.node);
  const double far = transfer(chunk * (world_size - split.near) / split.near, network.cluster);
  return both_latencies(split, network) + std::max(near, far);
}

Simulation simulate_step(const SimulationInput& input) { return StepModel(input).run(); }

}  // namespace muster::sharding
