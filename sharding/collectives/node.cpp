// Ranks of one machine through memory they share. A collective on it is a meeting: each rank writes
// what it does into its own line and waits for the others' lines. Waiting ranks sleep (futex),
// since their core computes gradients. What several machines hold in such memory crosses between
// them once: the i-th ranks of all machines bring it to each other, every one a part.
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <new>
#include <vector>

#include "base/error.h"
#include "sharding/collectives/collective.h"
#include "sharding/collectives/hosts.h"
#include "sharding/collectives/shared_memory.h"

namespace muster::sharding {
namespace {

using Clock = std::chrono::steady_clock;

enum class Purpose : std::int64_t { kRead, kGather, kBroadcast, kDone };
constexpr std::array kPurposes{"a reading", "all_gather", "broadcast", "the end of a reading"};

constexpr std::size_t kBroadcastPart = 64 << 20;  // bytes held beside the memory meanwhile

struct Move {
  Purpose purpose{};
  std::int64_t bytes = 0;
  std::int64_t offset = -1;  // of what is sent, in the shared memory it lies in; -1: in none
  std::int64_t region = -1;
  bool same_call(const Move& other) const {
    return purpose == other.purpose && bytes == other.bytes;
  }
};

// A rank's line has two moves, since a fast rank may write its next one while a slow one still
// reads this: it cannot write the one after that before the slow one has come.
struct alignas(128) Line {
  std::atomic<std::uint32_t> arrived{0};
  std::array<Move, 2> moves;
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

// Waits while the word has that value. Returns false after the time limit.
bool sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t value, Clock::duration limit) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit);
  timespec time{seconds.count(), std::chrono::nanoseconds(limit - seconds).count()};
  return ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &time, nullptr, 0) == 0 ||
         errno != ETIMEDOUT;
}

class NodeCollective final : public Collective {
 public:
  NodeCollective(std::unique_ptr<Collective> inner, int per_node,
                 std::shared_ptr<std::span<std::byte>> lines, std::chrono::duration<double> timeout)
      : inner_(std::move(inner)),
        near_{inner_->rank() / per_node * per_node, 1, per_node},
        lines_(std::move(lines)),
        timeout_(timeout) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name() + ", shared memory"; }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    through_inner([&] { inner_->all_to_all(send, receive); });
  }
  void exchange(const Circle& circle, std::span<const std::byte> send,
                std::span<std::byte> receive) override {
    through_inner([&] { inner_->exchange(circle, send, receive); });
  }
  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          WireDtype type) override {
    through_inner([&] { inner_->reduce_scatter_sum(send, receive, type); });
  }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    through_inner([&] { inner_->all_reduce_sum(values); });
  }
  void all_gather(std::span<std::byte> buffer) override {
    if (region_of(buffer) < 0) return through_inner([&] { inner_->all_gather(buffer); });
    if (several_nodes())
      through_inner([&] { gather_between(buffer); });
    else
      ++stats_.calls;
    meet(Purpose::kGather, buffer);
  }
  void broadcast(std::span<std::byte> buffer, int root) override {
    if (region_of(buffer) < 0) return through_inner([&] { inner_->broadcast(buffer, root); });
    if (several_nodes())
      through_inner([&] { broadcast_between(buffer, root); });
    else
      ++stats_.calls;
    meet(Purpose::kBroadcast, buffer);
  }

  Circle near() const override { return near_; }
  std::shared_ptr<std::span<std::byte>> shared_memory(std::size_t bytes) override {
    auto memory = map_shared(*inner_, near_.count, bytes);
    if (memory != nullptr) regions_.push_back(memory);
    return memory;
  }

  // What others read of `send` counts as sent: it crosses from one rank's core to another's.
  void read_near(std::span<const std::byte> send, const std::function<void(Chunks)>& use) override {
    ++stats_.calls;
    meet(Purpose::kRead, send);
    std::vector<const std::byte*> views;
    for (int i = 0; i < near_.count; ++i) {
      const Move& theirs = move_of(near_.first + i);
      views.push_back(memory(theirs.region).data() + theirs.offset);
    }
    use(views);
    meet(Purpose::kDone, send);  // until all have read, `send` must stay
    stats_.bytes_sent += static_cast<std::int64_t>(send.size()) / near_.count * (near_.count - 1);
  }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive,
                  const std::function<void(Chunks)>& use) override {
    if (several_nodes() || region_of(send) < 0) {
      through_inner([&] { inner_->all_to_all(send, receive, use); });
      return;
    }
    read_near(send, [&](Chunks views) {
      std::vector<const std::byte*> chunks(views.begin(), views.end());
      for (const std::byte*& chunk : chunks) chunk += send.size() / size() * rank();
      use(chunks);
    });
  }

 private:
  Line& line(int rank) const { return reinterpret_cast<Line*>(lines_->data())[rank - near_.first]; }
  const Move& move_of(int rank) const { return line(rank).moves[meetings_ % 2]; }
  bool several_nodes() const { return near_.count < size(); }

  // This rank's chunk to, and theirs from, the ranks that have its place on the other machines.
  void gather_between(std::span<std::byte> buffer) {
    const Circle circle{rank() - near_.first, near_.count, size() / near_.count};
    const std::size_t chunk = buffer.size() / size();
    const auto chunk_of = [&](int i) {
      return buffer.subspan((circle.first + i * circle.stride) * chunk, chunk);
    };
    const std::span<const std::byte> mine = buffer.subspan(rank() * chunk, chunk);
    gathered_.resize(2 * chunk * circle.count);
    const std::span<std::byte> send = std::span(gathered_).first(chunk * circle.count);
    const std::span<std::byte> received = std::span(gathered_).last(send.size());
    for (int i = 0; i < circle.count; ++i) std::memcpy(&send[i * chunk], mine.data(), chunk);
    inner_->exchange(circle, send, received);
    for (int i = 0; i < circle.count; ++i) {
      if (circle.first + i * circle.stride != rank())
        std::memcpy(chunk_of(i).data(), &received[i * chunk], chunk);
    }
  }

  // In parts, since a rank receives beside the memory: the first of a machine alone writes there.
  void broadcast_between(std::span<std::byte> buffer, int root) {
    const bool at_root = root / near_.count == near_.first / near_.count;
    std::vector<std::byte> part(rank() == root ? 0 : std::min(kBroadcastPart, buffer.size()));
    for (std::size_t at = 0; at < buffer.size(); at += kBroadcastPart) {
      const std::span<std::byte> there =
          buffer.subspan(at, std::min(kBroadcastPart, buffer.size() - at));
      const std::span<std::byte> here =
          rank() == root ? there : std::span(part).first(there.size());
      inner_->broadcast(here, root);
      if (!at_root && rank() == near_.first) std::ranges::copy(here, there.begin());
    }
  }

  template <typename Call>
  void through_inner(Call call) {
    ++stats_.calls;
    const std::int64_t before = inner_->stats().bytes_sent;
    call();
    stats_.bytes_sent += inner_->stats().bytes_sent - before;
  }

  // Returns the index of the shared memory that holds all of `part`, or -1.
  std::int64_t region_of(std::span<const std::byte> part) const {
    for (std::size_t i = 0; i < regions_.size(); ++i) {
      const std::span<std::byte> region = memory(static_cast<std::int64_t>(i));
      if (part.data() >= region.data() &&
          part.data() + part.size() <= region.data() + region.size()) {
        return static_cast<std::int64_t>(i);
      }
    }
    return -1;
  }

  // The span is empty once its user has let go of the memory.
  std::span<std::byte> memory(std::int64_t region) const {
    const auto held = regions_[region].lock();
    return held == nullptr ? std::span<std::byte>() : *held;
  }

  void meet(Purpose purpose, std::span<const std::byte> part) {
    const std::int64_t region = region_of(part);
    Line& mine = line(rank());
    ++meetings_;
    mine.moves[meetings_ % 2] = {purpose, static_cast<std::int64_t>(part.size()),
                                 part.data() - memory(region).data(), region};
    mine.arrived.store(meetings_, std::memory_order_release);
    ::syscall(SYS_futex, &mine.arrived, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
    const auto deadline = Clock::now() + timeout_;
    const int end = near_.first + near_.count;
    for (int r = near_.first; r < end; ++r) {
      if (r != rank()) wait_for(r, deadline);
    }
    for (int r = near_.first; r < end; ++r) {
      if (!move_of(r).same_call(move_of(near_.first))) disagree(r);
    }
  }

  void wait_for(int other, std::chrono::time_point<Clock, std::chrono::duration<double>> deadline) {
    std::atomic<std::uint32_t>& arrived = line(other).arrived;
    while (true) {
      const std::uint32_t seen = arrived.load(std::memory_order_acquire);
      if (static_cast<std::int32_t>(seen - meetings_) >= 0) return;
      const auto left =
          deadline - std::chrono::time_point_cast<std::chrono::duration<double>>(Clock::now());
      if (left.count() <= 0 ||
          !sleep_on(arrived, seen, std::chrono::duration_cast<Clock::duration>(left))) {
        throw CollectiveError(fmt::format("shared memory: {}: rank {} did not come within {:.1f} s",
                                          describe(move_of(rank())), other, timeout_.count()));
      }
    }
  }

  [[noreturn]] void disagree(int other) const {
    throw CollectiveError(fmt::format(
        "shared memory: ranks disagree: rank {} is in {}, rank {} in {} (this is rank {})",
        near_.first, describe(move_of(near_.first)), other, describe(move_of(other)), rank()));
  }

  std::string describe(const Move& move) const {
    return fmt::format("{} of {} bytes (collective {})", kPurposes[static_cast<int>(move.purpose)],
                       move.bytes, stats_.calls);
  }

  std::unique_ptr<Collective> inner_;
  const Circle near_;
  std::shared_ptr<std::span<std::byte>> lines_;
  std::chrono::duration<double> timeout_;
  std::vector<std::weak_ptr<std::span<std::byte>>> regions_;  // in the order all ranks made them
  std::uint32_t meetings_ = 0;
  std::vector<std::byte> gathered_;  // what gather_between() sends and receives
};

}  // namespace

std::unique_ptr<Collective> make_node(std::unique_ptr<Collective> inner,
                                      std::chrono::duration<double> timeout, int per_node) {
  if (inner->size() == 1) return inner;
  if (per_node == 0) per_node = ranks_per_node(*inner);
  if (per_node == 1) return inner;
  auto lines = map_shared(*inner, per_node, per_node * sizeof(Line));
  if (lines == nullptr) return inner;
  return std::make_unique<NodeCollective>(std::move(inner), per_node, std::move(lines), timeout);
}

}  // namespace muster::sharding
