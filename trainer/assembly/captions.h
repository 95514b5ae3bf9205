// The captions of a set: whether the head can learn them, and which words they have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/config.h"
#include "data/pack/class_map.h"
#include "data/sample_set.h"
#include "data/tokenizer/tokenizer.h"

namespace muster::trainer {

// Captions end with the token that ends a turn. Throws ConfigError where the tokenizer has none.
std::int64_t caption_end_token(const data::Tokenizer& tokenizer);

// What one walk over a set's captions found.
struct CaptionUse {
  // Token ids, ascending, that captions can say where this is the training set: its captions',
  // those of the same captions in a mirrored picture ("left" and "right"), whether the run mirrors
  // or not, and the end token. Empty: the whole vocabulary, or a closed set of classes.
  std::vector<std::int64_t> words;
  std::int64_t captions = 0;  // of all objects
  std::int64_t unsaid = 0;    // of them have a token that cannot be said
  std::string first_unsaid;   // e.g. "\"blue star\" of scene-3"
};

// Every caption of a set must fit the decoder, and with detection.labels: closed be a name of
// `classes`, the training set's: known here, not at the step that meets one. Throws ConfigError
// naming the longest, or the first that is no class, with its sample and what would do. `key`: of
// the config, e.g. "data.train". `sayable`: `words` of the training set, where this is another one.
CaptionUse check_captions(const char* key, const data::SampleSet& set,
                          const data::Tokenizer& tokenizer, const data::ClassMap& classes,
                          const configs::Detection& detection,
                          const std::vector<std::int64_t>& sayable = {});

// How many token ids captions of a run on `set` can say; 0: all of the vocabulary, or a closed set.
// Walks over the set only where its captions decide that.
std::int64_t count_caption_words(const data::SampleSet& set, const data::Tokenizer& tokenizer,
                                 const configs::Detection& detection);

// How much of the vocabulary captions of a run on data.train can say; "" where that is all.
std::string words_text(const CaptionUse& train, std::int64_t vocab_size);
// What a run should know about captions of data.val that cannot be said; "" where all can.
std::string unsaid_text(const CaptionUse& val);

}  // namespace muster::trainer
