// The words of open captions: which token ids can be said, and how they and the rows of the token
// embedding go together. A softmax over the words of a pack costs a few hundredths of one over a
// vocabulary of 151,936.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace muster::model {

// The token embedding as captions use it. Made once for all that a pass says: however many captions
// read `said`, the gradient of the whole table is then made and added up once.
struct CaptionTable {
  at::Tensor embedding;  // [vocab, text hidden]
  // [words, text hidden]: its rows that can be said; `embedding` itself where all can.
  at::Tensor said;
};

class WordList {
 public:
  WordList() = default;  // the whole vocabulary
  // ids: ascending, the end token among them; none: the whole vocabulary. Throws ConfigError for
  // others.
  WordList(std::vector<std::int64_t> ids, std::int64_t end_token);

  bool whole() const { return ids_.empty(); }
  CaptionTable table(const at::Tensor& embedding) const;

  // Rows of CaptionTable::said, "places", and the ids they are of.
  std::int64_t id_at(std::int64_t place) const { return whole() ? place : ids_[place]; }
  std::optional<std::int64_t> place_of(std::int64_t id) const;  // none: it cannot be said
  // Of all, or of none where one of them cannot be said.
  std::optional<std::vector<std::int64_t>> places_of(std::span<const std::int64_t> ids) const;

 private:
  std::vector<std::int64_t> ids_;
};

}  // namespace muster::model
