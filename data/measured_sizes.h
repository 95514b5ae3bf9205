// Sizes of a set's samples, measured once: they are kept in files beside the packs, so that a run
// on a million samples starts at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/encoder.h"
#include "data/sample_set.h"
#include "data/sample_size.h"
#include "data/training_samples.h"

namespace muster::data {

struct SizesOptions {
  // Tells one tokenizer and its tokens from another, e.g. a checksum of tokenizer.json.
  std::string tokenizer_identity;
  int threads = 1;  // that measure what no file has
  // Packs with fewer samples are measured each time: that is done sooner than one reads about it.
  std::int64_t smallest_kept = 20000;
};

// In the order of the set. A pack's sizes are in PACK.sizes/KEY, or, where the pack's folder cannot
// be written, in KEY of the folder `sizes` in $MUSTER_CACHE (else $XDG_CACHE_HOME/muster, else
// ~/.cache/muster). KEY is made of the pack's fingerprint, the number of samples in use, the
// tokenizer and the encoder's options, so that what is found is right or absent. A file that is
// damaged is measured and written anew. Files are written aside and renamed: any number of
// processes may do this at once. What cannot be written is not kept.
std::vector<SampleSize> measured_sizes(const SampleSet& set, const SampleEncoder& encoder,
                                       const SizesOptions& options);

// The same as an epoch trains on them, beside the set's first pack; KEY is also made of what the
// epoch's draws depend on. The newest two epochs are kept.
std::vector<SampleSize> measured_epoch(const TrainingSamples& samples, std::int64_t epoch,
                                       const SizesOptions& options);

}  // namespace muster::data
