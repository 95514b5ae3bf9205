// What a sample costs to train on, so that the micro-batches of a step can be made equal: floating
// point operations of a forward pass, in whole numbers, from the sizes of the model.
#pragma once

#include <cstdint>

#include "data/sample_size.h"

namespace muster::data {

struct TokenCost {
  std::int64_t token = 1;         // of text and vision alike, through the language model's layers
  std::int64_t token_pair = 0;    // times tokens^2: its attention
  std::int64_t vision_token = 0;  // its patches through the vision tower, and the merger
  std::int64_t vision_pair = 0;   // times vision tokens^2: attention over a whole picture
  std::int64_t label = 0;         // a row of logits: of an answer's token
  std::int64_t caption = 0;       // of a caption's token
  bool answers_alone = false;     // the language model rests for a sample without an answer

  std::int64_t of(const SampleSize& size) const {
    const std::int64_t tokens = answers_alone && size.denominators.tokens == 0 ? 0 : size.tokens;
    return token * tokens + token_pair * tokens * tokens + vision_token * size.vision_tokens +
           vision_pair * size.vision_tokens * size.vision_tokens +
           label * size.denominators.tokens + caption * size.denominators.caption_tokens;
  }
};

}  // namespace muster::data
