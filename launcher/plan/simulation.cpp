#include "launcher/plan/simulation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "trainer/step_totals.h"

namespace muster::launcher {
namespace {

// Passes over memory of the engine's kernels, per element: gradient to wire; wire and accumulator;
// norm, then gradient, moments, master and the parameter out.
struct EnginePasses {
  double copy, add, update;
};
EnginePasses engine_passes(const configs::Config& config) {
  const double param = configs::dtype_bytes(config.model.dtype);
  const double wire = configs::dtype_bytes(config.sharding.wire_dtype);
  return {param + wire, wire + 8, 4 + 4 + 16 + 8 + param};
}

// The optimizer's passes go over the host's memory.
void put_on_host(sharding::SimulationInput& input, const RunPlan& plan,
                 const ClusterModel& cluster) {
  input.update_on_host = true;
  input.update_s *= cluster.memory_bytes_per_s / cluster.host_bytes_per_s;
  input.fetch_s =
      static_cast<double>(plan.memory.fetched_bytes_per_step) / cluster.pcie_bytes_per_s;
  input.put_back_s =
      static_cast<double>(plan.memory.put_back_bytes_per_step) / cluster.pcie_bytes_per_s;
}

std::string host_figures(const std::vector<SimulatedRun>& runs, const ClusterModel& cluster) {
  if (!runs.front().on_host) return "";
  return fmt::format(
      "the optimizer is on the host: {:.0f} GB/s over PCIe and {:.0f} GB/s of its memory for each "
      "rank\n",
      cluster.pcie_bytes_per_s / 1e9, cluster.host_bytes_per_s / 1e9);
}

sharding::SimulationInput input_of(const configs::Config& config, const model::QwenConfig& model,
                                   const RunPlan& plan, const ClusterModel& cluster) {
  const ForwardFlops flops = forward_flops(config, model, plan.shape);
  const double forward = flops.vision + flops.language + flops.head;
  const double again = (config.model.checkpoint_vision ? flops.vision : 0) +
                       (config.model.checkpoint_language ? flops.language : 0);
  const EnginePasses passes = engine_passes(config);
  const auto elements = static_cast<double>(plan.trainable_elements);
  sharding::SimulationInput input;
  input.trainable_elements = plan.trainable_elements;
  input.bucket_bytes = config.sharding.bucket_bytes;
  input.world_size = plan.ranks;
  input.param_bytes = configs::dtype_bytes(config.model.dtype);
  input.wire_bytes = configs::dtype_bytes(config.sharding.wire_dtype);
  input.overlap = config.sharding.overlap;
  input.native_reduce = config.sharding.reduce == configs::Reduce::kNative;
  input.tree_reduce = config.sharding.reduce == configs::Reduce::kTree;
  input.accumulation_budget_bytes = config.sharding.accumulation_budget_bytes;
  input.deferred_from = plan.tied_offset;
  input.forward_s = forward / cluster.flops;
  input.backward_s = (2 * forward + again) / cluster.flops;
  input.copy_s = elements * passes.copy / cluster.memory_bytes_per_s;
  input.add_s = elements * passes.add / cluster.memory_bytes_per_s;
  input.update_s = elements / plan.ranks * passes.update / cluster.memory_bytes_per_s;
  input.network = cluster.network;
  if (plan.memory.fetched_bytes_per_step > 0) put_on_host(input, plan, cluster);
  return input;
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

}  // namespace

std::int64_t consensus_bytes(const RunPlan& plan, std::int64_t micro_batches) {
  const std::int64_t losses = trainer::LossTerms::kNumTerms * micro_batches;
  const std::int64_t memory = plan.ranks;  // in use, one slot per rank
  return plan.memory.transient.consensus + 8 * (trainer::StepTotals::kNumCounts + losses + memory);
}

std::vector<SimulatedRun> simulate_run(const configs::Config& config,
                                       const model::QwenConfig& model, const MicroBatchShape& shape,
                                       const ClusterModel& cluster, const std::vector<int>& ranks) {
  const std::int64_t per_rank =
      std::max<std::int64_t>(1, config.batch.micro_batches_per_step / ranks.front());
  std::vector<SimulatedRun> runs;
  for (const int n : ranks) {
    configs::Config scaled = config;
    scaled.batch.micro_batches_per_step = per_rank * n;
    scaled.launch.ranks_per_node = cluster.network.ranks_per_node;
    const RunPlan plan = make_plan(scaled, model, n, shape);
    sharding::SimulationInput input = input_of(scaled, model, plan, cluster);
    input.micro_batches_per_rank = per_rank;
    input.consensus_bytes = consensus_bytes(plan, per_rank * n);
    SimulatedRun run{
        n, per_rank, plan.total(), input.update_on_host, sharding::simulate_step(input), {}};
    input.native_reduce = true;
    input.tree_reduce = false;
    run.native = sharding::simulate_step(input);
    runs.push_back(std::move(run));
  }
  return runs;
}

std::string format_simulation(const std::vector<SimulatedRun>& runs, const ClusterModel& cluster) {
  const sharding::Network& n = cluster.network;
  std::string text = fmt::format(
      "simulated: {} ranks a node; each sustains {:.0f} TFLOP/s and {:.1f} TB/s of memory; {:.0f} "
      "GB/s and {:.0f} us in a node, {:.0f} GB/s and {:.0f} us between nodes, {:.1f} us a message\n"
      "{} micro-batches per rank and step, whatever their number\n",
      n.ranks_per_node, cluster.flops / 1e12, cluster.memory_bytes_per_s / 1e12,
      n.node.bytes_per_s / 1e9, n.node.latency_s * 1e6, n.cluster.bytes_per_s / 1e9,
      n.cluster.latency_s * 1e6, n.message_s * 1e6, runs.front().micro_batches_per_rank);
  text += host_figures(runs, cluster);
  text += fmt::format("{:>6}{:>12}{:>12}{:>12}{:>18}{:>13}{:>12}{:>20}\n", "ranks", "a rank",
                      "step", "compute", "exposed comm.", "efficiency", "sent", "native: exposed");
  for (const SimulatedRun& run : runs) {
    text += fmt::format(
        "{:>6}{:>12}{:>10.3f} s{:>10.3f} s{:>10.3f} s{:>4.0f} %{:>11.1f} %{:>12}{:>12.3f} "
        "s{:>4.0f} %\n",
        run.ranks, human_bytes(run.bytes_per_rank), run.step.step_s, run.step.compute_s,
        run.step.exposed_s, percent(run.step.exposed_s, run.step.step_s),
        percent(run.step.compute_s, run.step.step_s), human_bytes(run.step.sent_bytes),
        run.native.exposed_s, percent(run.native.exposed_s, run.native.step_s));
  }
  return text;
}

}  // namespace muster::launcher
