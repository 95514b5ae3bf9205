// Captions of queries: a small causal transformer that starts from the query's state and shares the
// language model's token embedding, for its inputs and (transposed) for its logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/head/class_trie.h"
#include "model/head/detection.h"
#include "model/head/layers.h"
#include "model/head/word_list.h"

namespace muster::model {

struct DecodedCaption {
  std::vector<std::int64_t> ids;  // without the end token
  double log_probability = 0;     // of the ids and, where it came, the end token
};

using CaptionIds = std::vector<std::int64_t>;

class CaptionDecoder {
 public:
  // Predictions whose logits exist at a time: [512, 151936] f32 is 311 MB; of a pack's words less.
  static constexpr std::int64_t kLogitsRows = 512;

  CaptionDecoder() = default;
  CaptionDecoder(const HeadConfig& config, std::int64_t text_hidden, std::int64_t end_token);

  // What the others read and say, of the language model's token embedding.
  CaptionTable table(const at::Tensor& embedding) const { return words_.table(embedding); }

  // Sum of -log p over all ids of all captions and one end token each; f32 scalar. queries
  // [captions, hidden]. Ids that cannot be said are left out of the sum, and read all the same. A
  // caption longer than caption_max_tokens is a DataError.
  at::Tensor loss_sum(const at::Tensor& queries, std::span<const CaptionIds* const> captions,
                      const CaptionTable& table) const;

  // Greedy, all queries at once with a key/value cache; finished ones leave the batch. queries [n,
  // hidden].
  std::vector<DecodedCaption> decode(const at::Tensor& queries, const CaptionTable& table) const;

  // log p(first id = tokens[j]) of each query: [n, tokens] f32; of an id that cannot be said -inf.
  at::Tensor first_log_probs(const at::Tensor& queries, std::span<const std::int64_t> tokens,
                             const CaptionTable& table) const;

  // log p of each class of a closed set, summed over the branchings on its path, each a softmax
  // over what may follow there: [n, classes] f32. queries [n, hidden].
  at::Tensor class_log_probs(const at::Tensor& queries, const ClassTrie& classes,
                             const at::Tensor& embedding) const;

  std::int64_t end_token() const { return end_token_; }
  void visit(const std::string& prefix, const ParamVisitor& visitor);

 private:
  struct Choice;
  // states [n, text hidden]
  Choice likeliest(const at::Tensor& states, const CaptionTable& table) const;
  // The embeddings of `ids`, in the table's dtype: [ids, text hidden].
  at::Tensor read(std::span<const std::int64_t> ids, const CaptionTable& table) const;
  std::vector<std::int64_t> extend(std::vector<DecodedCaption>& captions,
                                   const std::vector<std::int64_t>& active, const Choice& choice,
                                   bool full) const;
  // What the decoder says after each prefix of one length: [n, prefixes, text hidden].
  at::Tensor states_after(const at::Tensor& queries, std::span<const ClassTrie::Branching> prefixes,
                          const at::Tensor& embedding) const;
  // queries [n, hidden]; inputs [n, length, text hidden]: embeddings of the ids before the position
  // predicted last; undefined where there are none. [n, length + 1, text hidden].
  at::Tensor states(const at::Tensor& queries, const at::Tensor& inputs) const;

  std::int64_t end_token_ = 0, max_tokens_ = 0;
  WordList words_;
  Linear input_, output_;
  at::Tensor position_;  // [max_tokens + 1, hidden]
  std::vector<CausalLayer> layers_;
  LayerNorm norm_;
};

}  // namespace muster::model
