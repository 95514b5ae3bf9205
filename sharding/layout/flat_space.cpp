#include "sharding/layout/flat_space.h"

#include <algorithm>

namespace muster::sharding {
namespace {

std::vector<Slot> slots_of(const ParamRegistry& registry) {
  std::vector<Slot> slots;
  for (const Param& param : registry.trainable()) {
    slots.push_back(
        {.name = param.name, .shape = param.tensor.sizes().vec(), .numel = param.tensor.numel()});
  }
  return slots;
}

}  // namespace

FlatSpace::FlatSpace(std::vector<Slot> parameters) : slots_(std::move(parameters)) {
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].param = static_cast<int>(i);
  std::reverse(slots_.begin(), slots_.end());
  for (Slot& slot : slots_) {
    slot.offset = elements_;
    elements_ += round_up(slot.numel, kAlignment);
  }
}

FlatSpace::FlatSpace(const ParamRegistry& registry) : FlatSpace(slots_of(registry)) {}

ShardLayout::ShardLayout(std::int64_t flat_elements, int world_size, std::int64_t bucket_elements)
    : world_size_(world_size) {
  const std::int64_t quantum = kAlignment * world_size;
  padded_elements_ = round_up(flat_elements, quantum);
  window_elements_ = std::min(std::max(bucket_elements / quantum * quantum, quantum),
                              std::max(padded_elements_, quantum));
}

int ShardLayout::num_windows() const {
  return static_cast<int>((padded_elements_ + window_elements_ - 1) / window_elements_);
}

Window ShardLayout::window(int index) const {
  const std::int64_t begin = index * window_elements_;
  const std::int64_t elements = std::min(window_elements_, padded_elements_ - begin);
  return {begin, elements, elements / world_size_};
}

int first_local_window(const ShardLayout& layout, std::int64_t budget_bytes) {
  int first = layout.num_windows();
  while (first > 0 &&
         (layout.padded_elements() - layout.window(first - 1).begin) * 4 <= budget_bytes)
    --first;
  return first;
}

std::vector<Piece> intersect(const FlatSpace& space, std::int64_t flat_begin,
                             std::int64_t flat_end) {
  const std::vector<Slot>& slots = space.slots();
  auto slot = std::partition_point(slots.begin(), slots.end(),
                                   [&](const Slot& s) { return s.offset + s.numel <= flat_begin; });
  std::vector<Piece> pieces;
  for (; slot != slots.end() && slot->offset < flat_end; ++slot) {
    const std::int64_t begin = std::max(flat_begin, slot->offset);
    const std::int64_t end = std::min(flat_end, slot->offset + slot->numel);
    if (begin < end) pieces.push_back({slot->param, begin - slot->offset, begin, end - begin});
  }
  return pieces;
}

std::vector<Segment> owned_segments(const FlatSpace& space, const ShardLayout& layout, int rank) {
  std::vector<Segment> segments;
  for (int w = 0; w < layout.num_windows(); ++w) {
    const Window window = layout.window(w);
    const std::int64_t begin = window.begin + rank * window.slice;
    for (const Piece& piece : intersect(space, begin, begin + window.slice)) {
      segments.push_back({piece, w, layout.shard_begin(w) + piece.flat_begin - begin});
    }
  }
  return segments;
}

std::optional<SoleOwner> sole_owner(const ShardLayout& layout, const Slot& slot) {
  if (slot.numel == 0) return std::nullopt;
  const auto index = static_cast<int>(slot.offset / layout.window_elements());
  const Window window = layout.window(index);
  const std::int64_t in_window = slot.offset - window.begin;
  const std::int64_t rank = in_window / window.slice;
  if (in_window + slot.numel > (rank + 1) * window.slice) return std::nullopt;
  return SoleOwner{.rank = static_cast<int>(rank),
                   .shard_begin = layout.shard_begin(index) + in_window - rank * window.slice};
}

}  // namespace muster::sharding
