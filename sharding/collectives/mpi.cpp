#include <fmt/format.h>
#include <mpi.h>
#include <sched.h>

#include <climits>
#include <thread>

#include "base/error.h"
#include "sharding/collectives/collective.h"
#include "sharding/kernels/bfloat16_bits.h"

namespace muster::sharding {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kSpin = std::chrono::microseconds(50);    // then the core is offered to others ...
constexpr auto kYield = std::chrono::microseconds(500);  // ... and then left to them
constexpr auto kSleep = std::chrono::microseconds(60);
constexpr int kBroadcastChunk = 1 << 30;  // bytes
constexpr int kExchangeTag = 1;
constexpr int kBlockBytes = 64;  // unit of counts that do not fit an int

// A count that fits an int: it counts bytes, or 64-byte blocks for anything from 2 GiB.
struct Count {
  int count = 0;
  MPI_Datatype type = MPI_BYTE;
};

// MPI knows no bfloat16.
void add_bf16(void* from, void* to, int* count, MPI_Datatype*) {
  const auto* value = static_cast<const Bf16Bits*>(from);
  auto* sum = static_cast<Bf16Bits*>(to);
  for (int i = 0; i < *count; ++i)
    sum[i] = from_float<Bf16Bits>(to_float(sum[i]) + to_float(value[i]));
}

class MpiCollective final : public Collective {
 public:
  explicit MpiCollective(std::chrono::duration<double> timeout) : timeout_(timeout) {
    int initialised = 0, level = MPI_THREAD_SINGLE;
    MPI_Initialized(&initialised);
    if (initialised != 0) MPI_Query_thread(&level);
    if (level < MPI_THREAD_MULTIPLE) {
      throw CollectiveError(
          "mpi: MPI_Init_thread with MPI_THREAD_MULTIPLE must come first, and the library must "
          "grant it");
    }
    // The copy is never freed: that would be a collective in a destructor.
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    MPI_Type_contiguous(kBlockBytes, MPI_BYTE, &block_);
    MPI_Type_commit(&block_);
    MPI_Op_create(add_bf16, 1, &sum_bf16_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "mpi"; }

  void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) override {
    const Count n = per_rank(send.size());
    MPI_Request request = MPI_REQUEST_NULL;
    begin("all_to_all", send.size());
    check(MPI_Ialltoall(send.data(), n.count, n.type, receive.data(), n.count, n.type, comm_,
                        &request));
    finish(request, sent_to_each(send.size()));
  }

  // A message to each other rank of the circle; collectives of the same communicator do not meet
  // them.
  void exchange(const Circle& circle, std::span<const std::byte> send,
                std::span<std::byte> receive) override {
    begin("exchange", send.size());
    const std::size_t chunk = send.size() / circle.count;
    const Count n = count_of(chunk);
    std::vector<MPI_Request> requests;
    for (int i = 0; i < circle.count; ++i) {
      const int peer = circle.first + i * circle.stride;
      check(MPI_Irecv(receive.data() + i * chunk, n.count, n.type, peer, kExchangeTag, comm_,
                      &requests.emplace_back()));
      check(MPI_Isend(send.data() + i * chunk, n.count, n.type, peer, kExchangeTag, comm_,
                      &requests.emplace_back()));
    }
    finish(requests, static_cast<std::int64_t>(chunk) * (circle.count - 1));
  }

  void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                          WireDtype type) override {
    const bool wide = type == WireDtype::kFloat32;
    const std::size_t count = receive.size() / (wide ? 4 : 2);
    TORCH_CHECK(count <= INT_MAX, "mpi: ", count, " elements per rank in one call");
    MPI_Request request = MPI_REQUEST_NULL;
    begin("reduce_scatter_sum", send.size());
    check(MPI_Ireduce_scatter_block(send.data(), receive.data(), static_cast<int>(count),
                                    wide ? MPI_FLOAT : MPI_UINT16_T, wide ? MPI_SUM : sum_bf16_,
                                    comm_, &request));
    // Open MPI's non-blocking one reduces to rank 0 along a tree, and scatters from there.
    finish(request,
           rank_ == 0 ? sent_to_each(send.size()) : static_cast<std::int64_t>(send.size()));
  }

  void all_gather(std::span<std::byte> buffer) override {
    const Count n = per_rank(buffer.size());
    MPI_Request request = MPI_REQUEST_NULL;
    begin("all_gather", buffer.size());
    check(
        MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, buffer.data(), n.count, n.type, comm_, &request));
    finish(request, sent_to_each(buffer.size()));
  }

  void broadcast(std::span<std::byte> buffer, int root) override {
    begin("broadcast", buffer.size());
    for (std::size_t at = 0; at < buffer.size(); at += kBroadcastChunk) {
      const auto bytes =
          static_cast<int>(std::min<std::size_t>(kBroadcastChunk, buffer.size() - at));
      MPI_Request request = MPI_REQUEST_NULL;
      check(MPI_Ibcast(buffer.data() + at, bytes, MPI_BYTE, root, comm_, &request));
      finish(request, rank_ == root ? static_cast<std::int64_t>(bytes) * (size_ - 1) : 0);
    }
  }

  void all_reduce_sum(std::span<std::int64_t> values) override {
    begin("all_reduce_sum", values.size_bytes());
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_INT64_T,
                         MPI_SUM, comm_, &request));
    finish(request, static_cast<std::int64_t>(values.size_bytes()) * (size_ - 1));
  }

 private:
  Count per_rank(std::size_t total) const { return count_of(total / size_); }
  Count count_of(std::size_t bytes) const {
    if (bytes <= INT_MAX) return {static_cast<int>(bytes), MPI_BYTE};
    TORCH_CHECK(bytes % kBlockBytes == 0 && bytes / kBlockBytes <= INT_MAX, "mpi: ", bytes,
                " bytes per rank in one call");
    return {static_cast<int>(bytes / kBlockBytes), block_};
  }
  std::int64_t sent_to_each(std::size_t total) const {
    return static_cast<std::int64_t>(total) / size_ * (size_ - 1);
  }

  void begin(const char* kind, std::size_t bytes) {
    ++stats_.calls;
    kind_ = kind;
    bytes_ = bytes;
  }
  std::string where() const {
    return fmt::format("mpi: {} of {} bytes (collective {})", kind_, bytes_, stats_.calls);
  }

  void check(int code) const {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    MPI_Error_string(code, text, &length);
    throw CollectiveError(fmt::format("{}: {}", where(), text));
  }

  void finish(MPI_Request& request, std::int64_t bytes_sent) {
    finish(std::span(&request, 1), bytes_sent);
  }
  void finish(std::span<MPI_Request> requests, std::int64_t bytes_sent) {
    const auto start = Clock::now();
    int done = 0;
    while (true) {
      check(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done,
                        MPI_STATUSES_IGNORE));
      if (done != 0) break;
      const auto waited = Clock::now() - start;
      if (waited > timeout_)
        throw CollectiveError(
            fmt::format("{}: no answer within {:.1f} s", where(), timeout_.count()));
      if (waited > kYield)
        std::this_thread::sleep_for(kSleep);
      else if (waited > kSpin)
        sched_yield();
    }
    stats_.bytes_sent += bytes_sent;
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  MPI_Datatype block_ = MPI_DATATYPE_NULL;
  MPI_Op sum_bf16_ = MPI_OP_NULL;
  int rank_ = 0, size_ = 1;
  std::chrono::duration<double> timeout_;
  const char* kind_ = "";
  std::size_t bytes_ = 0;
};

}  // namespace

std::unique_ptr<Collective> make_mpi(std::chrono::duration<double> timeout) {
  return std::make_unique<MpiCollective>(timeout);
}

}  // namespace muster::sharding
