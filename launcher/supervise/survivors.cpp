#include "launcher/supervise/survivors.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "base/process/process_tree.h"
#include "launcher/supervise/command_builder.h"

namespace muster::launcher {
namespace {

constexpr std::chrono::seconds kAnswerWithin{20};

LaunchSpec probe_of(const LaunchSpec& spec, const Host& host) {
  LaunchSpec probe = spec;
  probe.ranks = 1;
  probe.placement.hosts = {{host.name, 1}};
  probe.placement.ranks_per_node = 0;
  probe.starter.options.clear();  // `true` needs no container
  probe.placement.cpu_binding = configs::CpuBinding::kNone;
  return probe;
}

}  // namespace

std::vector<Host> hosts_in_use(const LaunchSpec& spec, const AttemptResult& ended) {
  if (!spec.placement.hosts.empty()) return spec.placement.hosts;
  std::vector<Host> hosts;
  for (const auto& [rank, name] : ended.rank_host) {
    const auto known = std::ranges::find(hosts, name, &Host::name);
    if (known == hosts.end())
      hosts.push_back({name, 1});
    else
      ++known->slots;
  }
  return hosts;
}

std::vector<std::string> silent_hosts(const LaunchSpec& spec, std::span<const Host> hosts) {
  std::vector<std::future<bool>> answers;
  for (const Host& host : hosts) {
    answers.push_back(
        std::async(std::launch::async, [command = probe_command(probe_of(spec, host), {"true"})] {
          return run_captured(command.argv, kAnswerWithin, command.environment).exit_code == 0;
        }));
  }
  std::vector<std::string> silent;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (!answers[i].get()) silent.push_back(hosts[i].name);
  }
  return silent.size() == hosts.size() ? std::vector<std::string>{} : silent;
}

std::optional<LaunchSpec> shrink(const LaunchSpec& spec, std::span<const Host> hosts,
                                 std::span<const std::string> lost) {
  LaunchSpec smaller = spec;
  smaller.placement.hosts.clear();
  for (const Host& host : hosts) {
    if (std::ranges::find(lost, host.name) == lost.end()) smaller.placement.hosts.push_back(host);
  }
  if (smaller.placement.hosts.size() == hosts.size()) return std::nullopt;  // a name nobody knows
  const int slots = std::min(total_slots(smaller.placement.hosts), spec.ranks);
  smaller.ranks = fewer_ranks(slots, spec.restart.micro_batches, spec.restart.min_ranks);
  if (smaller.ranks == 0) return std::nullopt;
  if (spec.starter.kind == StarterKind::kSrun)
    smaller.placement.avoid.insert(smaller.placement.avoid.end(), lost.begin(), lost.end());
  return smaller;
}

}  // namespace muster::launcher
