// N ranks in one process. Every call is two meetings: at the first each rank shows its buffers and
// all compare what they are about to do; between the two they copy from each other; after the
// second the buffers are their owners' again.
#include <fmt/format.h>

#include <condition_variable>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "sharding/collectives/collective.h"
#include "sharding/kernels/bfloat16_bits.h"

namespace muster::sharding {
namespace {

// to += from, rounded to T after each addition, as a ring does.
template <typename T>
void add_values(std::byte* to, const std::byte* from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += sizeof(T)) {
    T sum;
    T value;
    std::memcpy(&sum, to + at, sizeof sum);
    std::memcpy(&value, from + at, sizeof value);
    sum = from_float<T>(to_float(sum) + to_float(value));
    std::memcpy(to + at, &sum, sizeof sum);
  }
}

class Meeting {
 public:
  Meeting(int size, std::chrono::duration<double> timeout)
      : doing_(size), data_(size), timeout_(timeout) {}

  // Waits until every rank has arrived. `doing` (kind, bytes, sequence) must be the same on all of
  // them. Throws on all ranks when it is not, and on the waiting ones at the timeout. `data`, when
  // given, is what the others may read until the next meeting.
  void arrive(int rank, std::string doing, const std::byte* data) {
    std::unique_lock lock(mutex_);
    throw_if_broken();
    if (data != nullptr) data_[rank] = data;
    doing_[rank] = doing;
    const std::int64_t mine = generation_;
    if (++arrived_ == size()) {
      compare();
      arrived_ = 0;
      ++generation_;
      all_here_.notify_all();
    } else if (!all_here_.wait_for(lock, timeout_,
                                   [&] { return generation_ != mine || !broken_.empty(); })) {
      broken_ = fmt::format("{}: rank {} waited {:.1f} s and another rank did not come", doing,
                            rank, timeout_.count());
      all_here_.notify_all();
    }
    throw_if_broken();
  }

  const std::byte* data(int rank) const { return data_[rank]; }
  int size() const { return static_cast<int>(data_.size()); }

 private:
  void compare() {
    for (std::size_t r = 1; r < doing_.size(); ++r) {
      if (doing_[r] != doing_[0])
        broken_ =
            fmt::format("ranks disagree: rank 0 is in {}, rank {} in {}", doing_[0], r, doing_[r]);
    }
  }
  void throw_if_broken() const {
    if (!broken_.empty()) throw CollectiveError(broken_);
  }

  std::mutex mutex_;
  std::condition_variable all_here_;
  std::vector<std::string> doing_;
  std::vector<const std::byte*> data_;
  std::chrono::duration<double> timeout_;
  int arrived_ = 0;
  std::int64_t generation_ = 0;
  std::string broken_;
};

class ThreadCollective final : public Collective {
 public:
  ThreadCollective(std::shared_ptr<Meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return meeting_->size(); }
  std::string name() const override { return "threads"; }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    meet("all_to_all", send.data(), send.size());
    const std::size_t chunk = send.size() / size();
    for (int r = 0; r < size(); ++r)
      copy(receive.data() + r * chunk, meeting_->data(r) + rank_ * chunk, chunk);
    leave(static_cast<std::int64_t>(chunk) * (size() - 1));
  }

  void exchange(const Circle& circle, std::span<const std::byte> send,
                std::span<std::byte> receive) override {
    meet(fmt::format("exchange of {} ranks, each {}-th,", circle.count, circle.stride), send.data(),
         send.size());
    const std::size_t chunk = send.size() / circle.count;
    const int place = (rank_ - circle.first) / circle.stride;
    for (int i = 0; i < circle.count; ++i)
      copy(receive.data() + i * chunk,
           meeting_->data(circle.first + i * circle.stride) + place * chunk, chunk);
    leave(static_cast<std::int64_t>(chunk) * (circle.count - 1));
  }

  // Adds in the order of a ring that ends at this rank.
  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          WireDtype type) override {
    const bool wide = type == WireDtype::kFloat32;
    meet(wide ? "reduce_scatter_sum fp32" : "reduce_scatter_sum bf16", send.data(), send.size());
    const std::size_t chunk = receive.size();
    for (int step = 1; step <= size(); ++step) {
      const std::byte* from = meeting_->data((rank_ + step) % size()) + rank_ * chunk;
      if (step == 1)
        copy(receive.data(), from, chunk);
      else if (wide)
        add_values<float>(receive.data(), from, chunk);
      else
        add_values<Bf16Bits>(receive.data(), from, chunk);
    }
    leave(static_cast<std::int64_t>(chunk) * (size() - 1));
  }

  void all_gather(std::span<std::byte> buffer) override {
    meet("all_gather", buffer.data(), buffer.size());
    const std::size_t chunk = buffer.size() / size();
    for (int r = 0; r < size(); ++r) {
      if (r != rank_) copy(buffer.data() + r * chunk, meeting_->data(r) + r * chunk, chunk);
    }
    leave(static_cast<std::int64_t>(chunk) * (size() - 1));
  }

  void broadcast(std::span<std::byte> buffer, int root) override {
    meet(root == 0 ? "broadcast" : fmt::format("broadcast from {}", root), buffer.data(),
         buffer.size());
    if (rank_ != root) copy(buffer.data(), meeting_->data(root), buffer.size());
    leave(rank_ == root ? static_cast<std::int64_t>(buffer.size()) * (size() - 1) : 0);
  }

  void all_reduce_sum(std::span<std::int64_t> values) override {
    const std::vector<std::int64_t> mine(values.begin(), values.end());
    meet("all_reduce_sum", std::as_bytes(std::span(mine)).data(), values.size_bytes());
    std::fill(values.begin(), values.end(), 0);
    for (int r = 0; r < size(); ++r) {
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = add(values[i], meeting_->data(r) + 8 * i);
    }
    leave(static_cast<std::int64_t>(values.size_bytes()) * (size() - 1));
  }

 private:
  void meet(std::string_view kind, const std::byte* data, std::size_t bytes) {
    ++stats_.calls;
    meeting_->arrive(
        rank_, fmt::format("{} of {} bytes (collective {})", kind, bytes, stats_.calls), data);
  }
  void leave(std::int64_t bytes_sent) {
    meeting_->arrive(rank_, fmt::format("the end of collective {}", stats_.calls), nullptr);
    stats_.bytes_sent += bytes_sent;
  }
  static void copy(std::byte* to, const std::byte* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  // The sum wraps around instead of overflowing: slots carry bit patterns, too.
  static std::int64_t add(std::int64_t sum, const std::byte* from) {
    std::uint64_t value = 0;
    std::memcpy(&value, from, sizeof value);
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(sum) + value);
  }

  std::shared_ptr<Meeting> meeting_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Collective>> make_threads(int size,
                                                      std::chrono::duration<double> timeout) {
  const auto meeting = std::make_shared<Meeting>(size, timeout);
  std::vector<std::unique_ptr<Collective>> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back(std::make_unique<ThreadCollective>(meeting, r));
  return ranks;
}

}  // namespace muster::sharding
