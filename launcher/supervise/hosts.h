// The machines a run is spread over, and what is left of them after some were lost. Pure but for
// reading a hostfile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster::launcher {

struct Host {
  std::string name;
  int slots = 0;  // ranks that fit; 0: not said
  bool operator==(const Host&) const = default;
};

// Reads "node17" or "node17:8". Throws UsageError.
Host parse_host(std::string_view text);

// Reads Open MPI's format: one host a line, "node17 slots=8" or "node17:8", '#' starts a comment.
// Throws UsageError with file:line.
std::vector<Host> read_hostfile(const std::filesystem::path& file);

// Slots nobody said are `ranks_per_node`, or 1 when that is 0. Throws UsageError when a host
// appears twice or all together hold fewer than `ranks`. No hosts: nothing to check.
std::vector<Host> usable_hosts(std::vector<Host> hosts, int ranks_per_node, int ranks);

std::string host_list(std::span<const Host> hosts);  // "a:2,b:2"
int total_slots(std::span<const Host> hosts);

// Returns the most ranks, at most `slots`, at least `min_ranks`, that share G micro-batches evenly;
// 0 when there is no such number.
int fewer_ranks(int slots, std::int64_t micro_batches_per_step, std::int64_t min_ranks);

}  // namespace muster::launcher
