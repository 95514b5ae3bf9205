// Ranks talking to each other. Backends: self (one rank), threads (N ranks in one process, for
// tests), mpi, and c10d (NCCL on GPUs, Gloo on CPUs). All calls are blocking, collective, and
// issued by one thread per rank in one fixed order; a mismatch of size or kind between ranks is a
// CollectiveError on every rank, never an abort.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace muster::sharding {

enum class WireDtype { kFloat32, kBFloat16 };

struct CollectiveStats {
  std::int64_t calls = 0;
  // What this rank sent to other ranks, as the backend's algorithm sends it. Where a broadcast is
  // relayed, all of it counts at its root.
  std::int64_t bytes_sent = 0;
};

// Ranks first, first + stride, ..., this one among them.
struct Circle {
  int first = 0, stride = 1, count = 1;
};

// One chunk per rank, in rank order.
using Chunks = std::span<const std::byte* const>;

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name() const = 0;

  // `send` and `receive` hold size() equal chunks: chunk i of `send` goes to rank i, chunk i of
  // `receive` came from rank i.
  virtual void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive) = 0;
  // all_to_all among the ranks of a circle: `count` equal chunks, in the circle's order. Every rank
  // calls it at the same time, with the same stride and count and a circle of its own.
  virtual void exchange(const Circle& circle, std::span<const std::byte> send,
                        std::span<std::byte> receive);
  // `receive` = the sum over ranks of their chunk rank() of `send` (size() equal chunks), added in
  // the order and precision the backend likes.
  virtual void reduce_scatter_sum(std::span<const std::byte> send, std::span<std::byte> receive,
                                  WireDtype type) = 0;
  // Works in place: this rank's chunk (the rank()-th of size() equal ones) is sent, the others are
  // filled in.
  virtual void all_gather(std::span<std::byte> buffer) = 0;
  virtual void broadcast(std::span<std::byte> buffer, int root) = 0;
  virtual void all_reduce_sum(std::span<std::int64_t> values) = 0;

  // The ranks that can share memory with this one, itself among them: neighbours.
  virtual Circle near() const { return {rank(), 1, 1}; }
  // One memory that the ranks of near() read and write, zeros at first; null where this rank has
  // nobody near. What a rank wrote there is what the others see after their next collective. When
  // a buffer lies in it, on every rank at the same place, all_gather and broadcast move only what
  // comes from elsewhere, once for all who are near.
  virtual std::shared_ptr<std::span<std::byte>> shared_memory(std::size_t /*bytes*/) {
    return nullptr;
  }
  // Moves nothing: views[i] is the `send` of the i-th of near(), in shared memory (REQUIRED where
  // there are several), as long as `use` runs. A rank may read its 1/count of each; so much counts
  // as sent.
  virtual void read_near(std::span<const std::byte> send, const std::function<void(Chunks)>& use);
  // all_to_all for a caller that only reads: chunks[r] came from rank r and lies there while `use`
  // runs. It moves nothing if all ranks are near and every `send` is in shared memory, and needs
  // `receive` (as large as `send`) otherwise.
  virtual void all_to_all(std::span<const std::byte> send, std::span<std::byte> receive,
                          const std::function<void(Chunks)>& use);

  const CollectiveStats& stats() const { return stats_; }
  // Number of the newest collective, for the flight recorder.
  std::int64_t sequence() const { return stats_.calls; }

 protected:
  CollectiveStats stats_;
};

std::unique_ptr<Collective> make_self();

// N connected collectives for N threads of this process.
std::vector<std::unique_ptr<Collective>> make_threads(int size,
                                                      std::chrono::duration<double> timeout);

// Runs over MPI_COMM_WORLD; MPI must be initialised with MPI_THREAD_MULTIPLE. It waits with short
// sleeps instead of spinning, so that a waiting rank does not take the core of a computing one.
std::unique_ptr<Collective> make_mpi(std::chrono::duration<double> timeout);

// [C] Uses `inner` between machines and shared memory in each. `per_node` neighbours are on one; 0:
// as host names say (ranks_per_node). Returns `inner` where no two ranks can share memory.
std::unique_ptr<Collective> make_node(std::unique_ptr<Collective> inner,
                                      std::chrono::duration<double> timeout, int per_node = 0);

// Where rank 0 serves the store in which the ranks of gloo and nccl find each other.
struct StoreAddress {
  std::string host;
  int port = 0;
  std::string token;  // what the store asks for before it answers
  int listener = -1;  // rank 0's socket that listens there already, which the store takes over
};

std::unique_ptr<Collective> make_gloo(const StoreAddress& store, int rank, int size,
                                      std::chrono::duration<double> timeout);

// Compares kind, size, root or type, and number of every collective across ranks before it runs,
// which costs one more small all-gather each. It serves debugging (sharding.checked): MPI and Gloo
// hang or abort on a mismatch, this throws CollectiveError on every rank.
std::unique_ptr<Collective> make_checked(std::unique_ptr<Collective> inner);

}  // namespace muster::sharding
