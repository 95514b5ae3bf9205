// Private to data/tokenizer: byte-pair merging of one piece of text.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::data {

// (left id, right id) -> rank and merged id. Open addressing, at most half full.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank = kNone, id = kNone;
  };
  static constexpr std::int32_t kNone = -1;

  void reserve(std::size_t merges);
  void insert(std::int32_t left, std::int32_t right,
              Merge merge);  // the first of two equal pairs stays
  Merge find(std::int32_t left,
             std::int32_t right) const;  // rank kNone when the pair does not merge

 private:
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  std::size_t slot_of(std::uint64_t key) const;

  std::vector<Slot> slots_;
};

// Bytes -> id, pointing into the tokens it was made from. Open addressing, at most half full.
class TokenTable {
 public:
  explicit TokenTable(const std::vector<std::string>& tokens);  // keeps a reference
  std::int32_t find(std::string_view bytes) const;              // -1 when it is not a token

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::int32_t id = -1;
  };
  std::size_t slot_of(std::string_view bytes, std::uint64_t hash) const;

  const std::vector<std::string>& tokens_;
  std::vector<Slot> slots_;
};

class Bpe {
 public:
  // Space for the merging of one piece, to be reused by one thread.
  struct Scratch {
    struct Symbol {
      std::int32_t id, rank;        // rank of the merge with the next symbol
      std::int32_t previous, next;  // -1: none
    };
    std::vector<Symbol> symbols;
    std::vector<std::uint64_t> heap;
  };

  // `tokens[id]`: the bytes it stands for, empty for an unused id. `merges`: pairs in order of
  // rank. Throws DataError when a single byte or a merge's parts or result are not tokens.
  Bpe(std::vector<std::string> tokens,
      const std::vector<std::pair<std::string, std::string>>& merges);

  Bpe(const Bpe&) = delete;
  Bpe& operator=(const Bpe&) = delete;

  // Appends the ids of `piece`. Thread-safe.
  void encode(std::string_view piece, Scratch& scratch, std::vector<std::int64_t>& ids) const;

  std::int32_t find(std::string_view bytes) const {
    return ids_.find(bytes);
  }                                               // -1 when it is not a token
  std::string_view bytes(std::int64_t id) const;  // empty when unused
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }

 private:
  void merge(std::string_view piece, Scratch& scratch, std::vector<std::int64_t>& ids) const;

  std::vector<std::string> tokens_;
  TokenTable ids_;
  std::int32_t byte_ids_[256] = {};
  MergeTable merges_;
  // Whether merging a token's own bytes gives that token back: then a piece that equals it needs no
  // merging. Found out at first use; all threads find the same, so relaxed loads and stores are
  // enough.
  enum Whole : std::uint8_t { kUnknown, kYes, kNo };
  std::unique_ptr<std::atomic<std::uint8_t>[]> whole_;
};

}  // namespace muster::data
