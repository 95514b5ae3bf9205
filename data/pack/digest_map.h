// Which number belongs to a digest, for millions of them: 27 to 53 bytes each, where a table of
// strings takes hundreds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/files.h"

namespace muster::data {

// Two texts of one digest are taken for one text: XXH3-128 makes that less likely than a disk that
// reads another byte than was written, by far.
class DigestMap {
 public:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // The number of `key`, kNone where there is none.
  std::uint32_t find(const Digest& key) const { return numbers_.empty() ? kNone : at(key); }
  bool contains(const Digest& key) const { return find(key) != kNone; }

  // Gives `key` the number, unless it has one. Returns the one it has now and whether that is new.
  // REQUIRES a number under kNone.
  std::pair<std::uint32_t&, bool> emplace(const Digest& key, std::uint32_t number) {
    if (size_ >= numbers_.size() / 4 * 3) grow();
    const std::size_t slot = slot_of(key);
    const bool added = numbers_[slot] == kNone;
    if (added) {
      keys_[slot] = key;
      numbers_[slot] = number;
      ++size_;
    }
    return {numbers_[slot], added};
  }

  std::size_t size() const { return size_; }

 private:
  std::uint32_t at(const Digest& key) const { return numbers_[slot_of(key)]; }

  // Where the key is, or the empty slot that it would get. There is always an empty one.
  std::size_t slot_of(const Digest& key) const {
    const std::size_t mask = numbers_.size() - 1;
    std::size_t slot = static_cast<std::size_t>(key.low) & mask;
    while (numbers_[slot] != kNone && keys_[slot] != key) slot = (slot + 1) & mask;
    return slot;
  }

  void grow() {
    constexpr std::size_t kFirst = 64;
    const std::size_t slots = numbers_.empty() ? kFirst : 2 * numbers_.size();
    const std::vector<Digest> keys = std::exchange(keys_, std::vector<Digest>(slots));
    const std::vector<std::uint32_t> numbers =
        std::exchange(numbers_, std::vector<std::uint32_t>(slots, kNone));
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (numbers[i] == kNone) continue;
      const std::size_t slot = slot_of(keys[i]);
      keys_[slot] = keys[i];
      numbers_[slot] = numbers[i];
    }
  }

  std::vector<Digest> keys_;
  std::vector<std::uint32_t> numbers_;  // kNone: the slot is empty
  std::size_t size_ = 0;
};

}  // namespace muster::data
