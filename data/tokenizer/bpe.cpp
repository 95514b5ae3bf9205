#include "data/tokenizer/bpe.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"

namespace muster::data {
namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// A candidate merge; the heap's top is the lowest rank, of equal ranks the leftmost.
std::uint64_t candidate(std::int32_t rank, std::int32_t position) {
  return pair_key(rank, position);
}
std::int32_t rank_of(std::uint64_t candidate) { return static_cast<std::int32_t>(candidate >> 32); }
std::int32_t position_of(std::uint64_t candidate) {
  return static_cast<std::int32_t>(candidate & 0xFFFFFFFFU);
}

}  // namespace

std::size_t MergeTable::slot_of(std::uint64_t key) const {
  constexpr std::uint64_t kGolden =
      0x9E3779B97F4A7C15U;  // 2^64 / golden ratio: spreads consecutive keys
  std::size_t slot = static_cast<std::size_t>((key * kGolden) >> 20) & (slots_.size() - 1);
  while (slots_[slot].key != key && slots_[slot].key != kEmpty)
    slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::reserve(std::size_t merges) {
  slots_.assign(std::bit_ceil(2 * merges + 2), Slot{});
}

void MergeTable::insert(std::int32_t left, std::int32_t right, Merge merge) {
  Slot& slot = slots_[slot_of(pair_key(left, right))];
  if (slot.key == kEmpty) slot = {pair_key(left, right), merge};
}

MergeTable::Merge MergeTable::find(std::int32_t left, std::int32_t right) const {
  return slots_[slot_of(pair_key(left, right))].merge;
}

TokenTable::TokenTable(const std::vector<std::string>& tokens)
    : tokens_(tokens), slots_(std::bit_ceil(2 * tokens.size() + 2)) {
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].empty()) continue;
    const std::uint64_t hash = XXH3_64bits(tokens[id].data(), tokens[id].size());
    Slot& slot = slots_[slot_of(tokens[id], hash)];
    if (slot.id < 0) slot = {static_cast<std::uint32_t>(hash >> 32), static_cast<std::int32_t>(id)};
  }
}

std::size_t TokenTable::slot_of(std::string_view bytes, std::uint64_t hash) const {
  const auto high = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[i];
    if (slot.id < 0 || (slot.hash == high && tokens_[slot.id] == bytes)) return i;
  }
}

std::int32_t TokenTable::find(std::string_view bytes) const {
  return slots_[slot_of(bytes, XXH3_64bits(bytes.data(), bytes.size()))].id;
}

Bpe::Bpe(std::vector<std::string> tokens,
         const std::vector<std::pair<std::string, std::string>>& merges)
    : tokens_(std::move(tokens)),
      ids_(tokens_),
      whole_(std::make_unique<std::atomic<std::uint8_t>[]>(tokens_.size())) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    byte_ids_[byte] = find({&text, 1});
    if (byte_ids_[byte] < 0)
      throw DataError(fmt::format("byte 0x{:02X} is not in the vocabulary", byte));
  }
  merges_.reserve(merges.size());
  std::int32_t rank = 0;
  for (const auto& [left, right] : merges) {
    const std::int32_t ids[] = {find(left), find(right), find(left + right)};
    if (*std::min_element(std::begin(ids), std::end(ids)) < 0) {
      throw DataError(fmt::format("merge {} names a token that is not in the vocabulary", rank));
    }
    merges_.insert(ids[0], ids[1], {rank++, ids[2]});
  }
}

std::string_view Bpe::bytes(std::int64_t id) const {
  return id >= 0 && id < size() ? std::string_view(tokens_[id]) : std::string_view();
}

void Bpe::encode(std::string_view piece, Scratch& scratch, std::vector<std::int64_t>& ids) const {
  if (piece.empty()) return;
  const std::int32_t id = find(piece);
  if (id < 0) return merge(piece, scratch, ids);
  std::atomic<std::uint8_t>& whole = whole_[id];
  if (whole.load(std::memory_order_relaxed) == kYes) return ids.push_back(id);
  const std::size_t before = ids.size();
  merge(piece, scratch, ids);
  whole.store(ids.size() == before + 1 && ids.back() == id ? kYes : kNo, std::memory_order_relaxed);
}

// Symbols are a doubly linked list in an array. A heap entry is stale when the symbol at its
// position no longer merges with that rank; ranks are unique to a pair, so an equal rank means the
// same pair.
void Bpe::merge(std::string_view piece, Scratch& scratch, std::vector<std::int64_t>& ids) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto length = static_cast<std::int32_t>(piece.size());
  symbols.clear();
  heap.clear();
  const auto offer = [&](std::int32_t i) {
    auto& symbol = symbols[i];
    symbol.rank = MergeTable::kNone;
    if (symbol.next < 0) return;
    symbol.rank = merges_.find(symbol.id, symbols[symbol.next].id).rank;
    if (symbol.rank == MergeTable::kNone) return;
    heap.push_back(candidate(symbol.rank, i));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  for (std::int32_t i = 0; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(piece[i]);
    symbols.push_back({byte_ids_[byte], MergeTable::kNone, i - 1, i + 1 < length ? i + 1 : -1});
  }
  for (std::int32_t i = 0; i < length; ++i) offer(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const std::uint64_t top = heap.back();
    heap.pop_back();
    auto& left = symbols[position_of(top)];
    if (left.rank != rank_of(top)) continue;
    auto& right = symbols[left.next];
    left.id = merges_.find(left.id, right.id).id;
    left.next = right.next;
    right.rank = MergeTable::kNone;
    if (left.next >= 0) symbols[left.next].previous = position_of(top);
    offer(position_of(top));
    if (left.previous >= 0) offer(left.previous);
  }
  for (std::int32_t i = 0; i >= 0; i = symbols[i].next) {
    ids.push_back(symbols[i].id);
  }
}

}  // namespace muster::data
