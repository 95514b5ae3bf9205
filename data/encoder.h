// Samples with their decoded pictures -> model inputs. Lengths and denominators are known without
// decoding a picture, which is what the sampler's plan is made of. Fetching and decoding
// (SampleSet::pictures) and encoding (SampleEncoder::add) are apart, so that a sample and its
// pictures may be changed between them, together.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/tensors/micro_batch.h"
#include "data/batch_builder.h"
#include "data/chat.h"
#include "data/images/image.h"
#include "data/images/patchify.h"
#include "data/pack/sample.h"
#include "data/picture_plan.h"
#include "data/sample_set.h"
#include "data/sample_size.h"
#include "data/tokenizer/tokenizer.h"

namespace muster::data {

// What the assistant's turn says where it is written from the objects: boxes and labels, in pixels
// of the resized picture (kJson) or in 0..1000 (kJson1000); labels alone; nothing.
enum class AnswerFormat { kJson, kJson1000, kLabels, kNone };

struct EncodeOptions {
  PatchOptions patches;
  std::string system_prompt;  // "" leaves the system turn out
  std::string prompt;         // the user's question after the picture
  AnswerFormat answer = AnswerFormat::kNone;
  std::int64_t max_vision_tokens = 0;  // of a sample, over all its pictures
  bool resize_over_budget = false;     // otherwise such a sample is dropped
  std::int64_t vocab_size = 0;         // ids are checked against it on the host (row D-008)

  VisionBudget budget() const { return {patches, max_vision_tokens, resize_over_budget}; }
};

// How a sample is written as a chat:
// - its own system turn replaces the config's; an empty one leaves the system turn out;
// - without a user's turn of its own it is asked the config's question, first;
// - the k-th kPictureMark in its users' turns is its k-th picture; marks that are missing stand
// before
//   its first user's text, so that pictures of a sample without marks come first;
// - an assistant's turn that lists objects is written from those objects in the form of `answer`;
//   without an assistant's last turn, an annotated sample is answered with all objects that no turn
//   lists. With kNone neither is learned: the last is left out, and one inside the chat is context.
//   Crowds are regions, not objects, and are not listed.
// - text of its own is learned in every assistant's turn, whatever `answer` says.
class SampleEncoder {
 public:
  SampleEncoder(const Tokenizer& tokenizer, EncodeOptions options);  // keeps a reference

  SampleSize measure(const Sample& sample) const;  // thread-safe, no picture access

  // Concatenates samples of a set. `with_answer` false leaves the assistant's last turn open:
  // prediction.
  MicroBatch encode(const SampleSet& set, std::span<const std::int64_t> samples,
                    bool with_answer) const;
  // Appends one sample, `id` in the batch, with its pictures, decoded, turned and of the sizes that
  // `sample` says. With answer: targets, too, whose categories are looked up in `classes`. Throws
  // DataError naming `where`.
  void add(BatchBuilder& batch, std::int64_t id, const Sample& sample,
           std::span<const Image> pictures, const ClassMap& classes,
           const std::string& where) const;
  // The same with the assistant's last turn open and without targets.
  void add_question(BatchBuilder& batch, std::int64_t id, const Sample& sample,
                    std::span<const Image> pictures, const std::string& where) const;

  // A sample of no pack: its question, with pictures or without; "": the config's.
  static Sample question(const std::string& name, const std::string& prompt,
                         std::span<const Image> pictures);

  const EncodeOptions& options() const { return options_; }

 private:
  struct Encoded {
    ChatTokens text;
    PicturesPlan pictures;
  };

  Encoded encode_text(const Sample& sample, bool with_answer, const std::string& where) const;
  // Encodes the chat and the pictures and refuses what must not reach the model: too many vision
  // tokens, ids outside the vocabulary, pictures of other sizes.
  void add_inputs(BatchBuilder& batch, std::int64_t id, const Sample& sample,
                  std::span<const Image> pictures, bool with_answer,
                  const std::string& where) const;
  ImageTargets targets(const Sample& sample, std::int64_t picture, const ClassMap& classes,
                       const std::string& where) const;
  void check_ids(const std::vector<std::int64_t>& ids, const std::string& where) const;

  const Tokenizer& tokenizer_;
  EncodeOptions options_;
};

// measure() of every sample of a set, on `threads` threads.
std::vector<SampleSize> measure_all(const SampleSet& set, const SampleEncoder& encoder,
                                    int threads);

}  // namespace muster::data
