// A training step as a discrete-event model: one lane computes, one lane carries collectives in the
// order they are posted, and the engine's rules tie them together (windows, staging buffers, one
// consensus, gathers awaited by the next forward). It predicts step time and exposed communication
// for worlds nobody has at hand. Pure values; nothing runs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace muster::sharding {

// One rank's way to others.
struct Link {
  double latency_s = 0;
  double bytes_per_s = 0;
};

struct Network {
  int ranks_per_node = 1;
  Link node;             // between ranks of one node
  Link cluster;          // between nodes, every rank with a port of its own
  double message_s = 0;  // a sender's time per message of an all-to-all
};

struct SimulationInput {
  std::int64_t trainable_elements = 0;  // of the flat space
  std::int64_t bucket_bytes = 0;        // of one window, in the wire dtype
  int world_size = 1;
  int param_bytes = 4, wire_bytes = 4;
  std::int64_t micro_batches_per_rank = 1;
  bool overlap = true;
  // A reduce-scatter that adds on its way, instead of all-to-all and ordered sum.
  bool native_reduce = false;
  bool tree_reduce = false;  // all-to-all in phases, a node's ranks first
  // The last windows, as far as this reaches, are reduced once, before the consensus.
  std::int64_t accumulation_budget_bytes = 0;
  // Flat position of the first tied parameter: its window and those after it wait for the end of
  // backward. -1: none is tied.
  std::int64_t deferred_from = -1;
  std::int64_t consensus_bytes = 0;
  double forward_s = 0, backward_s = 0;  // of one micro-batch, alone
  double copy_s = 0;                     // all gradients into staging
  double add_s = 0;                      // all received slices onto the shard, on the wire's lane
  double update_s = 0;                   // norm and optimizer over this rank's shard
  // The optimizer is on the host: it updates beside what computes. A copy of this rank's gradients
  // to it, and of its parameters back, take this long.
  bool update_on_host = false;
  double fetch_s = 0, put_back_s = 0;
  Network network;
};

enum class Work : std::uint8_t { kForward, kBackward, kUpdate, kReduce, kConsensus, kGather };
std::string_view work_name(Work work);
constexpr bool on_wire(Work work) { return work >= Work::kReduce; }

struct SimulatedEvent {
  Work work = Work::kForward;
  int window = -1;
  double begin_s = 0, end_s = 0;  // from the start of the step
};

struct Simulation {
  double step_s = 0;
  double compute_s = 0;                // forward, backward, copies, update unless on the host
  double wire_s = 0;                   // the wire's lane is busy
  double exposed_s = 0;                // step - compute: what communication costs in the end
  std::int64_t sent_bytes = 0;         // by one rank
  std::vector<SimulatedEvent> events;  // of one step in the steady state
};

Simulation simulate_step(const SimulationInput& input);

// What one collective over `world_size` ranks takes, `bytes` being the whole buffer on each.
double all_to_all_seconds(std::int64_t bytes, int world_size, const Network& network);
// The phases of `reduce: tree` (sharding/kernels/reduce_tree.h), of a buffer in the wire's dtype.
double tree_seconds(std::int64_t bytes, int wire_bytes, int world_size, const Network& network);
// A native reduce-scatter takes as long as a gather.
double all_gather_seconds(std::int64_t bytes, int world_size, const Network& network);

}  // namespace muster::sharding
