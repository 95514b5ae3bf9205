#include "launcher/plan/text.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "sharding/kernels/reduce_tree.h"

namespace muster::launcher {
namespace {

constexpr int kBarWidth = 40;

// A bar of `share` of the full width: blocks of colour on a terminal, else hashes.
std::string bar(double share, int colour_code, bool colour) {
  const double half_more = share * kBarWidth + 0.5;  // cut off below: rounds a half up
  const int cells = std::clamp(static_cast<int>(half_more), share > 0 ? 1 : 0, kBarWidth);
  if (!colour) return std::string(static_cast<std::size_t>(cells), '#');
  return fmt::format("\033[{}m{:{}}\033[0m", colour_code, "", cells);
}

struct PlanRow {
  const char* what;
  std::int64_t bytes;
  int colour;  // of the terminal's backgrounds
};

std::vector<PlanRow> rows_of(const RunPlan& plan) {
  constexpr int kBlue = 44, kCyan = 46, kGreen = 42, kYellow = 43, kGrey = 100;
  const sharding::EngineBytes& b = plan.memory.bytes;
  const sharding::TransientBytes& t = plan.memory.transient;
  const ActivationBytes& a = plan.activations;
  return {{"parameters", b.parameters, kBlue},
          {"frozen parameters", plan.memory.frozen_parameters, kBlue},
          {"gradient shard (fp32)", b.gradient_shard, kCyan},
          {"master shard", b.master, kCyan},
          {"moments shard", b.moments, kCyan},
          {"running mean (EMA) shard", b.ema, kCyan},
          {"partial sums (fp32)", b.partial_sums, kCyan},
          {"local accumulation (fp32)", b.accumulation, kCyan},
          {"staging and receiving", t.staging + t.receive, kGreen},
          {"largest gradient", t.gradient, kGreen},
          {"checkpoint's snapshot", t.snapshot, kGreen},
          {"activations: vision", a.vision, kYellow},
          {"activations: language", a.language, kYellow},
          {"activations: head", a.head, kYellow},
          {"logits, their gradients", a.logits, kYellow},
          {"input and prefetch", a.input, kYellow},
          {"program and libraries", plan.process_bytes, kGrey}};
}

// Nothing where there is no GPU: everything is in the table then.
std::string host_text(const RunPlan& plan) {
  if (plan.host_total() == 0) return "";
  const sharding::HostBytes& h = plan.memory.bytes.host;
  std::string text = "in the host's memory, of each rank:\n";
  const std::pair<const char*, std::int64_t> rows[] = {
      {"own parameters", h.parameters},    {"gradient shard (fp32)", h.gradient},
      {"master shard", h.master},          {"moments shard", h.moments},
      {"running mean (EMA) shard", h.ema}, {"checkpoint's snapshot", plan.host_snapshot}};
  for (const auto& [what, bytes] : rows) {
    if (bytes > 0) text += fmt::format("  {:<26}{:>12}\n", what, human_bytes(bytes));
  }
  text += fmt::format("  {:<26}{:>12}\n", "total", human_bytes(plan.host_total()));
  if (plan.memory.fetched_bytes_per_step == 0) return text;
  return text + fmt::format(
                    "over PCIe per step and rank: {} of gradients to the host, {} of "
                    "parameters back\n",
                    human_bytes(plan.memory.fetched_bytes_per_step),
                    human_bytes(plan.memory.put_back_bytes_per_step));
}

std::string host_verdict(const RunPlan& plan) {
  if (plan.host_available_bytes == 0) return "";
  return fmt::format(", and {} of {} on the host", human_bytes(plan.host_total()),
                     human_bytes(plan.host_available_bytes));
}

std::string frozen_note(const GroupCount& group, bool adapters) {
  if (group.elements == 0) return "";
  if (group.trained == 0) return "  frozen: no gradient, no state, no traffic";
  std::string note;
  if (group.trained < group.elements) {
    note = fmt::format("  {} trained{}, the rest frozen", group.trained,
                       adapters ? " in adapters" : "");
  }
  if (group.least_factor < 1)
    note += fmt::format("  lr {:.3g} and up by layer", group.lr * group.least_factor);
  return note;
}

std::string groups_text(const RunPlan& plan, bool adapters) {
  std::string text = fmt::format("{:<16}{:>9}{:>16}{:>12}{:>14}\n", "group", "tensors", "elements",
                                 "lr", "weight decay");
  for (const GroupCount& g : plan.groups) {
    text += fmt::format("{:<16}{:>9}{:>16}{:>12.3g}{:>14.3g}{}\n", g.name, g.tensors, g.elements,
                        g.lr, g.weight_decay, frozen_note(g, adapters));
  }
  return text;
}

// The order in which gradients are added, which decides their last bits.
std::string order_text(const RunPlan& plan, const configs::Config& config) {
  switch (config.sharding.reduce) {
    case configs::Reduce::kOrdered:
      return "one micro-batch after the other, on any number of ranks";
    case configs::Reduce::kNative: return "the backend's, which the number of ranks may change";
    case configs::Reduce::kTree: break;
  }
  const auto per_node = static_cast<int>(std::max<std::int64_t>(1, config.launch.ranks_per_node));
  const std::vector<int> radices = sharding::reduce_radices(plan.ranks, per_node);
  constexpr const char* kTree = "a binary tree of micro-batches, on any number of ranks; ";
  if (radices.size() > 1) return fmt::format("{}{} ranks at once", kTree, fmt::join(radices, ", "));
  const char* apart =
      plan.ranks > per_node
          ? ": no two ranks of a node (launch.ranks_per_node) are siblings in every round"
          : "";
  return fmt::format("{}all ranks at once{}", kTree, apart);
}

std::string micro_batch_text(const MicroBatchShape& s) {
  return fmt::format(
      "{} samples, {} tokens, {} of vision, {} labels, {} objects ({})", s.samples, s.tokens,
      s.vision_tokens, s.labels, s.objects,
      s.from_pack ? "the largest of the pack's first epoch" : "the most the config's limits allow");
}

}  // namespace

std::string memory_table(const RunPlan& plan, bool colour) {
  std::string text;
  for (const PlanRow& row : rows_of(plan)) {
    if (row.bytes == 0) continue;
    const double share = static_cast<double>(row.bytes) / static_cast<double>(plan.total());
    text += fmt::format("  {:<26}{:>12} {:>5.1f} %  {}\n", row.what, human_bytes(row.bytes),
                        100 * share, bar(share, row.colour, colour));
  }
  return text + fmt::format("  {:<26}{:>12}\n", "total", human_bytes(plan.total()));
}

std::string format_plan(const RunPlan& plan, const configs::Config& config, bool colour) {
  std::string text = groups_text(plan, config.lora.enabled);
  text += fmt::format("\none of {} ranks, {} weights, gradients on the wire in {}:\n", plan.ranks,
                      configs::name_of(config.model.dtype),
                      configs::name_of(config.sharding.wire_dtype));
  text += memory_table(plan, colour);
  text += fmt::format("largest micro-batch: {}\n", micro_batch_text(plan.shape));
  text += fmt::format("traffic per step and rank: {} of gradients out, {} of parameters out\n",
                      human_bytes(plan.memory.reduce_bytes_per_step),
                      human_bytes(plan.memory.gather_bytes_per_step));
  text += fmt::format("gradients are added in the order of {}\n", order_text(plan, config));
  text += host_text(plan);
  constexpr int kGreen = 42, kRed = 41;
  text +=
      fmt::format("{}: a rank wants {} of {}{}  {}\n", plan.fits() ? "fits" : "does NOT fit",
                  human_bytes(plan.total()), human_bytes(plan.available_bytes), host_verdict(plan),
                  bar(std::min(plan.fill(), 1.0), plan.fits() ? kGreen : kRed, colour));
  return text;
}

}  // namespace muster::launcher
