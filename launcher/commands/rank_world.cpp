#include "launcher/commands/rank_world.h"

#include <fmt/core.h>

#include <chrono>

namespace muster::launcher {
namespace {

// One rank's share may take so much longer than another's.
constexpr std::chrono::hours kPatience{6};

std::unique_ptr<sharding::Collective> join(int world_size) {
  if (world_size == 1) return sharding::make_self();
  return sharding::make_node(sharding::make_mpi(kPatience), kPatience);
}

}  // namespace

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
