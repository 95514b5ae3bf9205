// The work of a forward pass, from the sizes of the network: what the plan foretells times with,
// and what the sampler makes micro-batches equal by.
#pragma once

#include <cstdint>

#include "model/files/config.h"

namespace muster::model {

struct MultiplyAdds {
  std::int64_t token = 0;       // a token through the language model's layers, attention apart
  std::int64_t token_pair = 0;  // times tokens^2 of a sample: both products of causal attention
  std::int64_t patch = 0;       // a patch through its embedding and the tower, attention apart
  std::int64_t window = 0;      // a patch in the attention of its windows
  std::int64_t patch_pair = 0;  // times patches^2 of a picture: attention over all of it
  std::int64_t merge = 0;       // a vision token through the merger
  std::int64_t logits = 0;      // one row of them, over the vocabulary
  std::int64_t logit = 0;       // one of them

  // A row over so many words; 0: over the vocabulary.
  std::int64_t logits_over(std::int64_t words) const { return words > 0 ? words * logit : logits; }
};
MultiplyAdds multiply_adds(const QwenConfig& config);

}  // namespace muster::model
