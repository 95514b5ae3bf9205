#include "launcher/commands/rank_world.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "base/machine.h"
#include "sharding/collectives/texts.h"

namespace muster::launcher {
namespace {

// One rank's share may take so much longer than another's.
constexpr std::chrono::hours kPatience{6};

std::unique_ptr<sharding::Collective> join(int world_size) {
  if (world_size == 1) return sharding::make_self();
  return sharding::make_node(sharding::make_mpi(kPatience), kPatience);
}

// Where a rank runs, on its way to the others.
struct Seat {
  std::string host;
  std::vector<int> cpus;
};

// [C] By rank.
std::vector<Seat> gather_seats(const Seat& mine, sharding::Collective& collective) {
  const nlohmann::json json{{"host", mine.host}, {"cpus", mine.cpus}};
  std::vector<Seat> seats;
  for (const std::string& text : sharding::gather_texts(collective, json.dump())) {  // [C]
    const auto one = nlohmann::json::parse(text);
    seats.push_back({one.at("host").get<std::string>(), one.at("cpus").get<std::vector<int>>()});
  }
  return seats;
}

}  // namespace

int fair_share(std::span<const std::vector<int>> cpus, std::size_t own) {
  double share = 0;
  for (const int cpu : cpus[own]) {
    const auto sharers = std::ranges::count_if(cpus, [cpu](const std::vector<int>& of_rank) {
      return std::ranges::find(of_rank, cpu) != of_rank.end();
    });
    share += 1.0 / static_cast<double>(sharers);
  }
  return static_cast<int>(share + 1e-6);
}

// A container may have less time than processors: then its ranks have a part of that.
int RankWorld::threads(int asked) {
  if (asked > 0) return asked;
  const int cores = this_machine().cores;
  if (collective_->size() == 1) return cores;
  const Seat mine{session_.info().host, own_cpus()};
  std::vector<std::vector<int>> here;
  std::size_t own = 0;
  const std::vector<Seat> seats = gather_seats(mine, *collective_);  // [C]
  for (std::size_t rank = 0; rank < seats.size(); ++rank) {
    if (seats[rank].host != mine.host) continue;
    if (static_cast<int>(rank) == collective_->rank()) own = here.size();
    here.push_back(seats[rank].cpus);
  }
  const auto allowed = static_cast<int>(mine.cpus.size());
  return std::max(1, fair_share(here, own) * cores / allowed);
}

RankWorld::RankWorld() : collective_(join(session_.info().world_size)) {}

ExitCode RankWorld::run(const std::function<ExitCode()>& work) {
  const RankInfo& info = session_.info();
  if (info.world_size == 1) return work();
  int code = static_cast<int>(ExitCode::kRankFailed);
  try {
    return work();
  } catch (const Error& error) {
    code = static_cast<int>(error.exit_code());
    fmt::print(stderr, "[rank {}/{} {}] {}\n", info.rank, info.world_size, info.host, error.what());
  } catch (const std::exception& error) {
    fmt::print(stderr, "[rank {}/{} {}] {}\n", info.rank, info.world_size, info.host, error.what());
  }
  session_.abort(code);
}

}  // namespace muster::launcher
