#include "launcher/commands/rank_world.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <span>

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

std::vector<std::string> gather_texts(const std::string& mine, sharding::Collective& collective) {
  const auto ranks = static_cast<std::size_t>(collective.size());
  if (ranks == 1) return {mine};
  const auto own = static_cast<std::size_t>(collective.rank());
  std::vector<std::int64_t> sizes(ranks, 0);
  sizes[own] = static_cast<std::int64_t>(mine.size());
  collective.all_reduce_sum(sizes);  // [C]
  const auto most = static_cast<std::size_t>(std::ranges::max(sizes));
  std::vector<std::string> texts(ranks);
  if (most == 0) return texts;
  std::string buffer(most * ranks, '\0');
  std::ranges::copy(mine, buffer.begin() + static_cast<std::ptrdiff_t>(own * most));
  collective.all_gather(std::as_writable_bytes(std::span(buffer)));  // [C]
  for (std::size_t r = 0; r < ranks; ++r)
    texts[r] = buffer.substr(r * most, static_cast<std::size_t>(sizes[r]));
  return texts;
}

}  // namespace muster::launcher
