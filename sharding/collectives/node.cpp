// Ranks of one machine through memory they share. A collective on it is a meeting: each rank writes
// what it does into its own line and waits for the others' lines. Waiting ranks sleep (futex),
// since their core computes gradients.
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <ctime>
#include <new>
#include <vector>

#include "base/error.h"
#include "sharding/collectives/collective.h"
#include "sharding/collectives/shared_memory.h"

namespace muster::sharding {
namespace {

using Clock = std::chrono::steady_clock;

enum class Purpose : std::int64_t { kExchange, kGather, kBroadcast, kDone };
constexpr std::array kPurposes{"all_to_all", "all_gather", "broadcast", "the end of all_to_all"};

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
  NodeCollective(std::unique_ptr<Collective> inner, std::shared_ptr<std::span<std::byte>> lines,
                 std::chrono::duration<double> timeout)
      : inner_(std::move(inner)), lines_(std::move(lines)), timeout_(timeout) {}
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
    ++stats_.calls;
    meet(Purpose::kGather, buffer);
  }
  void broadcast(std::span<std::byte> buffer, int root) override {
    if (region_of(buffer) < 0) return through_inner([&] { inner_->broadcast(buffer, root); });
    ++stats_.calls;
    meet(Purpose::kBroadcast, buffer);
  }

  std::shared_ptr<std::span<std::byte>> shared_memory(std::size_t bytes) override {
    auto memory = map_shared(*inner_, bytes);
    if (memory != nullptr) regions_.push_back(memory);
    return memory;
  }

  // What others read of `send` counts as sent: it crosses from one rank's core to another's.
  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive,
                  const std::function<void(Chunks)>& use) override {
    if (region_of(send) < 0) {
      through_inner([&] { inner_->all_to_all(send, receive, use); });
      return;
    }
    ++stats_.calls;
    meet(Purpose::kExchange, send);
    const std::size_t chunk = send.size() / size();
    std::vector<const std::byte*> chunks;
    for (int r = 0; r < size(); ++r) {
      const Move& theirs = move_of(r);
      chunks.push_back(memory(theirs.region).data() + theirs.offset + rank() * chunk);
    }
    use(chunks);
    meet(Purpose::kDone, send);  // until all have read, `send` must stay
    stats_.bytes_sent += static_cast<std::int64_t>(chunk) * (size() - 1);
  }

 private:
  Line& line(int rank) const { return reinterpret_cast<Line*>(lines_->data())[rank]; }
  const Move& move_of(int rank) const { return line(rank).moves[meetings_ % 2]; }

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
    for (int r = 0; r < size(); ++r) {
      if (r != rank()) wait_for(r, deadline);
    }
    for (int r = 0; r < size(); ++r) {
      if (!move_of(r).same_call(move_of(0))) disagree(r);
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
        "shared memory: ranks disagree: rank 0 is in {}, rank {} in {} (this is rank {})",
        describe(move_of(0)), other, describe(move_of(other)), rank()));
  }

  std::string describe(const Move& move) const {
    return fmt::format("{} of {} bytes (collective {})", kPurposes[static_cast<int>(move.purpose)],
                       move.bytes, stats_.calls);
  }

  std::unique_ptr<Collective> inner_;
  std::shared_ptr<std::span<std::byte>> lines_;
  std::chrono::duration<double> timeout_;
  std::vector<std::weak_ptr<std::span<std::byte>>> regions_;  // in the order all ranks made them
  std::uint32_t meetings_ = 0;
};

}  // namespace

std::unique_ptr<Collective> make_node(std::unique_ptr<Collective> inner,
                                      std::chrono::duration<double> timeout) {
  if (inner->size() == 1) return inner;
  auto lines = map_shared(*inner, inner->size() * sizeof(Line));
  if (lines == nullptr) return inner;
  return std::make_unique<NodeCollective>(std::move(inner), std::move(lines), timeout);
}

}  // namespace muster::sharding
