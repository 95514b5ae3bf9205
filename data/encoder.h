// One sample -> model inputs. Lengths and denominators are known without decoding the image, which
// is what the sampler's plan is made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/chat.h"
#include "data/images/image.h"
#include "data/images/patchify.h"
#include "data/pack/pack.h"
#include "data/tokenizer/tokenizer.h"

namespace muster::data {

// What the assistant's turn says: boxes and labels, in pixels of the resized image (kJson) or in
// 0..1000 (kJson1000); labels alone; nothing.
enum class AnswerFormat { kJson, kJson1000, kLabels, kNone };

struct EncodeOptions {
  PatchOptions patches;
  std::string system_prompt;  // "" leaves the system turn out
  std::string prompt;         // the user's question after the image
  AnswerFormat answer = AnswerFormat::kNone;
  std::int64_t max_vision_tokens = 0;
  bool resize_over_budget = false;  // otherwise such a sample is dropped
  std::int64_t vocab_size = 0;      // ids are checked against it on the host (row D-008)
};

struct SampleSize {
  bool dropped = false;  // over the vision-token budget
  bool resized = false;  // shrunk to fit it
  std::int64_t tokens = 0, vision_tokens = 0;
  Denominators denominators;
};

// How one image enters the model: known from its stored size alone.
struct ImagePlan {
  PatchOptions patches;  // max_pixels lowered when shrunk to fit the budget
  Size resized;          // in pixels
  Grid grid;             // in patches; all zero without an image
  std::int64_t vision_tokens = 0;
  bool dropped = false, shrunk = false;
};
// Throws DataError naming `where` when the image cannot be resized (aspect ratio).
ImagePlan plan_image(std::int64_t width, std::int64_t height, const EncodeOptions& options,
                     const std::string& where);

struct EncodedSample {
  ChatTokens text;
  ImagePlan image;
};

// An image that is in no pack, as `predict` has them.
struct NamedImage {
  const Image* image;
  std::string name;
};

class SampleEncoder {
 public:
  SampleEncoder(const Tokenizer& tokenizer, EncodeOptions options);  // keeps a reference

  SampleSize measure(const Sample& sample) const;  // thread-safe, no image access
  // Concatenates samples. `with_answer` false leaves the assistant's turn open: prediction.
  MicroBatch encode(const Pack& pack, const std::vector<std::int64_t>& samples,
                    bool with_answer) const;
  // Encodes text alone and leaves the assistant's turn open.
  MicroBatch encode_prompt(const std::string& prompt) const;
  // Makes a sample of each image and leaves the assistant's turns open.
  MicroBatch encode_images(const std::vector<NamedImage>& images) const;
  MicroBatch encode_image(const Image& image, const std::string& name) const {
    return encode_images({{&image, name}});
  }

  const EncodeOptions& options() const { return options_; }

 private:
  EncodedSample encode_text(const Sample& sample, bool with_answer, const std::string& where) const;
  // As encode_text, and refuses what must not reach the model: too many vision tokens, ids outside
  // the vocabulary.
  EncodedSample encode_for_model(const Sample& sample, bool with_answer,
                                 const std::string& where) const;
  std::string answer_text(const Sample& sample, const ImagePlan& image) const;
  ImageTargets targets(const Sample& sample, const ClassMap& classes,
                       const std::string& where) const;
  void check_ids(const std::vector<std::int64_t>& ids, const std::string& where) const;

  const Tokenizer& tokenizer_;
  EncodeOptions options_;
};

// measure() of every sample of a pack, on `threads` threads.
std::vector<SampleSize> measure_all(const Pack& pack, const SampleEncoder& encoder, int threads);

}  // namespace muster::data
