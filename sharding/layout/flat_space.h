// The one flat index space that holds every trainable parameter, and how ranks share it. Pure
// values: the same on every rank, hashed and compared before the first collective.
//
// Space: parameters in reverse registration order (about the order backward produces gradients in),
// each start aligned to kAlignment elements, the end padded to kAlignment. It depends on neither
// the world size nor the bucket size. Layout: buckets are windows of that space, so a parameter may
// span several. Rank r owns slice r of every window; slices are equal multiples of kAlignment. Only
// the last window may be smaller, and only it reaches past the space's end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sharding/layout/param_registry.h"

namespace muster::sharding {

constexpr std::int64_t kAlignment = 64;  // elements; 128 bytes of bf16

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct Slot {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t numel = 0;
  std::int64_t offset = 0;  // in the flat space
  int param = -1;           // registration index
};

class FlatSpace {
 public:
  FlatSpace() = default;
  // `parameters` in registration order; offsets and indices are filled in.
  explicit FlatSpace(std::vector<Slot> parameters);
  explicit FlatSpace(const ParamRegistry& registry);

  const std::vector<Slot>& slots() const { return slots_; }  // in flat order
  const Slot& of_param(int param) const { return slots_[slots_.size() - 1 - param]; }
  std::int64_t elements() const { return elements_; }

 private:
  std::vector<Slot> slots_;
  std::int64_t elements_ = 0;
};

struct Window {
  std::int64_t begin = 0;  // in the flat space
  std::int64_t elements = 0;
  std::int64_t slice = 0;  // elements / world size
};

class ShardLayout {
 public:
  ShardLayout() = default;
  ShardLayout(std::int64_t flat_elements, int world_size, std::int64_t bucket_elements);

  int world_size() const { return world_size_; }
  int num_windows() const;
  Window window(int index) const;
  std::int64_t window_elements() const { return window_elements_; }  // of all but the last
  std::int64_t padded_elements() const { return padded_elements_; }  // sum of the windows
  std::int64_t shard_elements() const { return padded_elements_ / world_size_; }  // of each rank
  std::int64_t shard_begin(int window) const { return window * window_elements_ / world_size_; }

 private:
  int world_size_ = 1;
  std::int64_t window_elements_ = 0, padded_elements_ = 0;
};

// Windows from this one on accumulate locally, in fp32, as far as the budget reaches: the last
// ones, whose reduction no backward is left to hide. num_windows() when none does.
int first_local_window(const ShardLayout& layout, std::int64_t budget_bytes);

// A piece is a run of one parameter's elements inside a range of the flat space.
struct Piece {
  int param = -1;
  std::int64_t param_begin = 0;  // first element, counted in the parameter
  std::int64_t flat_begin = 0;
  std::int64_t count = 0;
};
std::vector<Piece> intersect(const FlatSpace& space, std::int64_t flat_begin,
                             std::int64_t flat_end);

// A segment is a piece that a rank owns; it knows where it lies in that rank's shard.
struct Segment : Piece {
  int window = -1;
  std::int64_t shard_begin = 0;
};
std::vector<Segment> owned_segments(const FlatSpace& space, const ShardLayout& layout, int rank);

// A parameter that one rank owns alone, and without a gap: who that is, and where it lies in that
// rank's shard. Nothing for any other.
struct SoleOwner {
  int rank = -1;
  std::int64_t shard_begin = 0;
};
std::optional<SoleOwner> sole_owner(const ShardLayout& layout, const Slot& slot);

}  // namespace muster::sharding
