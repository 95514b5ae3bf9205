#include "launcher/supervise/hosts.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

int parse_slots(std::string_view text, std::string_view whole) {
  int slots = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), slots);
  if (error != std::errc() || end != text.data() + text.size() || slots < 1) {
    throw UsageError(
        fmt::format("host \"{}\": the number of slots must be a whole number above 0", whole));
  }
  return slots;
}

void check_name(std::string_view name, std::string_view whole) {
  if (name.empty() || name.starts_with('-') ||
      name.find_first_of(", \t/") != std::string_view::npos) {
    throw UsageError(fmt::format("\"{}\" is no host: wanted NAME or NAME:SLOTS", whole));
  }
}

// "node17 slots=8 max_slots=8": Open MPI ignores case nowhere and neither does this.
Host parse_line(std::string_view line) {
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  Host host = parse_host(words.front());
  for (const std::string& word : std::span(words).subspan(1)) {
    if (word.starts_with("slots="))
      host.slots = parse_slots(std::string_view(word).substr(6), line);
    else if (!word.starts_with("max_slots="))
      throw UsageError(fmt::format("\"{}\" is not understood", word));
  }
  return host;
}

}  // namespace

Host parse_host(std::string_view text) {
  const std::size_t colon = text.find(':');
  Host host{std::string(text.substr(0, colon)), 0};
  check_name(host.name, text);
  if (colon != std::string_view::npos) host.slots = parse_slots(text.substr(colon + 1), text);
  return host;
}

std::vector<Host> read_hostfile(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file))
    throw UsageError(fmt::format("--hostfile {}: no such file", file.string()));
  std::vector<Host> hosts;
  int number = 0;
  for (std::string line : split(read_text(file), '\n')) {
    ++number;
    line.resize(std::min(line.size(), line.find('#')));
    std::ranges::replace(line, '\t', ' ');
    if (line.find_first_not_of(" \r") == std::string::npos) continue;
    if (line.ends_with('\r')) line.pop_back();
    try {
      hosts.push_back(parse_line(line));
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}:{}: {}", file.string(), number, error.what()));
    }
  }
  if (hosts.empty()) throw UsageError(fmt::format("--hostfile {}: no host in it", file.string()));
  return hosts;
}

std::vector<Host> usable_hosts(std::vector<Host> hosts, int ranks_per_node, int ranks) {
  std::set<std::string> names;
  for (Host& host : hosts) {
    if (!names.insert(host.name).second)
      throw UsageError(fmt::format("host {} is named twice", host.name));
    if (host.slots == 0) host.slots = std::max(ranks_per_node, 1);
    if (ranks_per_node > 0) host.slots = std::min(host.slots, ranks_per_node);
  }
  if (const int slots = total_slots(hosts); !hosts.empty() && slots < ranks) {
    throw UsageError(
        fmt::format("{} ranks are wanted but the hosts hold {}: {} (R-011). Say NAME:SLOTS, raise "
                    "launch.ranks_per_node, or start -n {}",
                    ranks, slots, host_list(hosts), slots));
  }
  return hosts;
}

std::string host_list(std::span<const Host> hosts) {
  std::string list;
  for (const Host& host : hosts)
    list += fmt::format("{}{}:{}", list.empty() ? "" : ",", host.name, host.slots);
  return list;
}

int total_slots(std::span<const Host> hosts) {
  return std::accumulate(hosts.begin(), hosts.end(), 0,
                         [](int sum, const Host& host) { return sum + host.slots; });
}

int fewer_ranks(int slots, std::int64_t micro_batches_per_step, std::int64_t min_ranks) {
  for (int n = slots; n >= 1 && n >= min_ranks; --n) {
    if (micro_batches_per_step % n == 0) return n;
  }
  return 0;
}

}  // namespace muster::launcher
